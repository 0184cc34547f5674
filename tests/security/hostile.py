"""Texts and events that cost as much time as possible."""

from collections.abc import Callable, Iterator
from typing import Any

MOST_BYTES = 64 << 10

# What a text repeats: some pattern begins to match each run and then fails.
_RUNS = (
    *(
        "a",
        "A",
        "0",
        "1",
        " ",
        ".",
        "-",
        "_",
        "+",
        "@",
        "%",
        "&",
        "=",
        "/",
        "?",
        "#",
        ":",
        ",",
        ";",
        "x",
        "(",
    ),
    *(
        "\t",
        '"',
        "'",
        "<",
        "[",
        "{",
        "|",
        "\\",
        "!",
        "é",
        "\u0130",
        "\u00ad",
        "\u200b",
        "\ufdfa",
        "\U0001f600",
    ),
    *(
        "a1",
        "a.",
        ".a",
        "a@",
        "@a.",
        "a@b.c",
        "a@b.c1",
        "a@b.cc1",
        "a b",
        "a@b.cc ",
        "%25",
        "%40",
        "%2540",
        "a%",
    ),
    *(
        "1 ",
        "1.",
        "1,",
        "1-",
        "1(",
        "12 ",
        "1/",
        "123,",
        "1.1.1.",
        "+1",
        "+1 ",
        "0049",
        "00",
        "555-",
        "(555) ",
    ),
    *(
        "0171 ",
        "555 555 ",
        "1\u00a0",
        "1'",
        "x1",
        "ext",
        "ext. ",
        "# 1",
        "x ",
        "1x",
        "-1",
        "2024-01-01",
        "T00:",
    ),
    *(
        "a-",
        "-a",
        "0-",
        "f:",
        "::",
        "ab:cd",
        "https://",
        "http://a",
        "?epik=",
        "&epik=a",
        "email=",
        "a=b&",
        "/a",
    ),
    *(
        "token",
        "token=",
        "bearer ",
        "bearer",
        "pina_",
        "Mozilla/",
        "bot",
        "monitor",
        "google-",
        "<script>",
        "//\n",
    ),
    *("\u0301\u0316", "a\u0301\u0316", "sep=", "null", "\n", "\r\n", "a\n", "a: ", "; ", "\u2013 ", "\u00a8"),
)
# Before and after the run.
_AROUND = (
    ("", ""),
    ("a", "@"),
    ("", "@b%252525"),
    ("a@", ""),
    ("+1", "!"),
    ("0", "x"),
    ("1", "\x00"),
    ("https://a.example.com/?x=", "@b%252525"),
    ("https://", "/"),
    ("https://a.example.com/", "@"),
    ("a:", "\n"),
    ("x", "\n\n"),
)


def texts(step: int = 1) -> Iterator[tuple[str, Callable[[int], str]]]:
    """Yield the name of every ``step``-th hostile text, and the text as a function of its length."""
    every = [(run, before, after) for run in _RUNS for before, after in _AROUND]
    for run, before, after in every[::step]:
        yield f"{before!r} {run!r}… {after!r}", _repeated(before, run, after)


def _repeated(before: str, run: str, after: str) -> Callable[[int], str]:
    return lambda length: before + (run * (length // len(run) + 1))[:length] + after


# The fields that the mapping reads.
_PROPERTIES = """
total revenue currency order_id num_items content_ids query search_string predicted_ltv content_name
content_category content_brand category event_id email phone product_id price quantity name brand
channel opt_out_type
"""
_PRODUCT = "product_id price quantity name category brand currency"
_TRAITS = """
email phone gender birthday first_name last_name city state zip country external_id advertising_id
"""
_PARTS = "id name type version brand advertisingId carrier manufacturer"
_CONTEXT = "ip locale action_source channel library os device app network"


def event(**fields: Any) -> dict[str, Any]:
    """Return an order that can be delivered, with some fields replaced."""
    known = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m1",
        "context": {"ip": "203.0.113.5", "userAgent": "Mozilla/5.0", "app": {"name": "Shop"}},
        "properties": {"order_id": "1", "total": 1, "currency": "EUR"},
        "traits": {"email": "jane@example.com"},
    }
    return known | fields


def full_events(text: str) -> Iterator[dict[str, Any]]:
    """Yield events with a text in every field that the mapping reads."""
    properties = dict.fromkeys(_PROPERTIES.split(), text)
    traits = dict.fromkeys(_TRAITS.split(), text)
    context = event()["context"] | {"page": {"url": text}, "traits": traits, "locale": text}
    ids = {"event": text[:200], "messageId": text[:200], "userId": text[:200], "anonymousId": text[:200]}
    products = [dict.fromkeys(_PRODUCT.split(), text), text, [text]]
    yield event(properties=properties, context=context, traits=traits | {"address": traits}, **ids)
    yield event(
        properties={"products": products, "url": text, "userdata": {"email": [text, text]}},
        context=event()["context"] | dict.fromkeys(_CONTEXT.split(), text),
    )
    parts = dict.fromkeys(_PARTS.split(), text)
    yield event(context=dict.fromkeys(("device", "os", "network", "library", "app"), parts), event="Search")


def shapes(size: int = MOST_BYTES) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield events of about ``size`` bytes with many or deeply nested parts."""
    context = event()["context"]
    for name, values in _lists(size):
        yield f"{name} as products", event(properties={"products": values})
        yield f"{name} as content ids", event(properties={"content_ids": values})
        yield f"{name} as traits", event(traits={"email": values, "phone": values, "address": values})
        yield f"{name} as consent", event(context=context | {"consent": {"categories": values}})
    for length in (1, 4, 60, 200):
        keys = {f"{n:x}".rjust(length, "k"): n for n in range(size // (length + 10))}
        yield f"keys of {length} in properties", event(properties=keys)
        yield f"keys of {length} in traits", event(traits=keys)
        yield f"keys of {length} in context", event(context=context | keys)
        yield f"keys of {length} in consent", event(context=context | {"consent": keys})
        yield f"keys of {length} in a product", event(properties={"products": [keys]})
        yield f"keys of {length} in an address", event(traits={"address": keys})
    spellings = {f"total{'_' * n}": "x" * 40 for n in range(58)}
    yield "spellings of a property", event(properties=spellings | {"items": [spellings] * (size // 4400)})
    yield "a long key", event(properties={"k" * (size // 2): [1.5, None] * (size // 20)})
    deep: Any = "a@b.example"
    for _ in range(28):
        deep = {"address": deep, "billing_address": {"address": "x" * (size // 130)}}
    yield "nested addresses", event(traits=deep)
    yield "pairs in an address", event(properties={"url": "https://a.example/?" + "a=b&" * (size // 4)})
    yield "click ids", event(properties={"url": "https://a.example/?" + "epik= &" * (size // 7)})
    marks = "a" + "\u0301\u0316" * (size // 4)
    yield "marks in a host", event(properties={"url": f"https://{marks}/?epik=dj0yMDIwLongEnough"})


def _lists(size: int) -> Iterator[tuple[str, list[Any]]]:
    yield "empty objects", [{}] * (size // 4)
    yield "short objects", [{"id": 1}] * (size // 10)
    yield "prices", [{"id": f"p{n}", "price": "1.299,00 \u20ac", "quantity": "2"} for n in range(size // 55)]
    yield "unknown keys", [{f"k{n}{m}": 1 for m in range(12)} for n in range(size // 130)]
    yield "names", [{"name": "a" * 90 + "@"}] * (size // 110)
    yield "numbers", list(range(size // 7))
    yield "texts", [f"a{n}" for n in range(size // 9)]
    yield "lists", [[]] * (size // 4)
