"""Generate docs/api.md from the Management API's OpenAPI description: ``make docs``."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "api.md"

Spec = dict[str, Any]

# Fewer common rows than this are repeated in each shape.
_LEAST_COMMON_ROWS = 10

_HEAD = """\
# Management API

`make docs` generates this page from the API's OpenAPI description.
The API serves Swagger UI at `/v1/admin/docs` and the description at `/v1/admin/docs/openapi.json`.
The [collector](collector.md) receives events.

Every request needs a token: `Authorization: Bearer YOUR_TOKEN`.
Requests and answers are JSON.
An error names the field and the reason: `{"error": {"code": "UPPER_SNAKE", "message": "…"}}`.

Lists are paged: `{"data": […], "next_cursor": …, "has_more": …}`.
The query parameter `cursor` takes the `next_cursor` of the previous page; on the last page it is null.
The query parameter `limit` is 1 to 100, by default 50.
"""


def reference(spec: Spec) -> str:
    """Return the page: each call with its request and answers, then every shape with its fields."""
    parts = [_HEAD]
    for tag in spec["tags"]:
        parts.append(f"## {tag['name'].capitalize().replace('_', ' ')}\n\n{tag['description']}.\n")
        parts.extend(_call(*call) for call in _calls(spec) if tag["name"] in call[2]["tags"])
    parts.append("## Shapes\n\nFields in bold are required.\n")
    return "\n".join([*parts, *_shapes(spec["components"]["schemas"])])


def description() -> Spec:
    """Return the OpenAPI description that the API serves."""
    from worker.ledger.database import Ledger
    from worker.ledger.migrate import migrate
    from worker.settings import parse
    from worker.web.management import create_app

    with tempfile.TemporaryDirectory() as folder:
        settings = parse({"SIGNAL_VAR": folder})
        ledger = Ledger(settings.database_url, settings.encryption_keys)
        migrate(ledger)
        client = create_app(ledger, settings).test_client()
        token = {"Authorization": f"Bearer {settings.admin_token}"}
        answer = client.get("/v1/admin/docs/openapi.json", headers=token)
        ledger.dispose()
    return dict(answer.get_json())


def _calls(spec: Spec) -> Iterator[tuple[str, str, Spec]]:
    for path, calls in spec["paths"].items():
        for method, call in calls.items():
            if method != "parameters":
                yield method.upper(), path, call


def _call(method: str, path: str, call: Spec) -> str:
    lines = [f"### {method} {path}", "", call["summary"]]
    if body := _content(call.get("requestBody", {})):
        lines.append(f"Takes {_type(body)}.")
    lines += [_answer(*answer) for answer in sorted(call["responses"].items()) if answer[0][0] == "2"]
    parameters = [parameter for parameter in call.get("parameters", []) if _is_special(parameter)]
    if parameters:
        lines += ["", "| query parameter | type | meaning |", "|---|---|---|"]
        lines += [
            _row(item["name"], item["schema"], item, item.get("required", False)) for item in parameters
        ]
    return "\n".join([*lines, ""])


def _is_special(parameter: Spec) -> bool:
    """Leave out what is in the path, and the parameters that every list has."""
    is_page = parameter["name"] == "cursor" and "page before" in parameter.get("description", "")
    schema = parameter["schema"]
    is_limit = parameter["name"] == "limit" and (schema.get("maximum"), schema.get("default")) == (100, 50)
    return parameter["in"] == "query" and not is_page and not is_limit


def _answer(status: str, answer: Spec) -> str:
    body = _content(answer)
    return f"Answers {status} with {_type(body)}." if body else f"Answers {status}."


def _content(holder: Spec) -> Spec | None:
    for content in holder.get("content", {}).values():
        return dict(content["schema"])
    return None


def _shapes(schemas: Mapping[str, Spec]) -> Iterator[str]:
    """Yield each shape with its fields; rows that an earlier shape has too are only named."""
    written: dict[str, list[str]] = {}
    for name in sorted(filter(_is_shown, schemas)):
        rows = list(_fields("", schemas[name]))
        base = max(written, key=lambda other: _common(rows, written[other]), default="")
        lines = [f"### {name}", ""]
        if base and _common(rows, written[base]) >= _LEAST_COMMON_ROWS:
            common = [row for row in rows if row in written[base]]
            names = ", ".join(row.split(" | ")[0].removeprefix("| ") for row in common)
            lines += [f"As in [{base}](#{base.lower()}): {names}.", ""]
            own = [row for row in rows if row not in common]
        else:
            own = rows
        written[name] = rows
        yield "\n".join([*lines, "| field | type | meaning |", "|---|---|---|", *own, ""])


def _common(rows: Sequence[str], others: Sequence[str]) -> int:
    return len(set(rows) & set(others))


def _fields(within: str, shape: Spec) -> Iterator[str]:
    for field, schema in shape.get("properties", {}).items():
        yield _row(f"{within}{field}", schema, schema, field in shape.get("required", []))
        yield from _fields(f"{within}{field}.", schema)


def _row(name: str, schema: Spec, described: Mapping[str, Any], required: bool) -> str:
    label = f"**`{name}`**" if required else f"`{name}`"
    meaning = [str(described.get("description", "")), _bounds(schema)]
    return f"| {label} | {_type(schema)} | {' '.join(filter(None, meaning)).replace('|', chr(92) + '|')} |"


def _type(schema: Spec | None) -> str:
    if not schema:
        return "anything"
    for ways in ("allOf", "anyOf", "oneOf"):
        if ways in schema:
            return " or ".join(_type(way) for way in schema[ways])
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        shape = name.removesuffix("Page")
        return f"[{shape}](#{shape.lower()})" if shape == name else f"a page of [{shape}](#{shape.lower()})"
    kinds = schema.get("type", "anything")
    kind = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if kind == "array":
        return f"list of {_type(schema.get('items'))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return kind + (" or null" if schema.get("nullable") else "")


def _bounds(schema: Spec) -> str:
    bounds = []
    if "enum" in schema:
        bounds.append(
            "One of " + ", ".join(f"`{value}`" for value in schema["enum"] if value is not None) + "."
        )
    for key, words in (
        ("minimum", "at least {}"),
        ("maximum", "at most {}"),
        ("minLength", "at least {} characters"),
        ("maxLength", "at most {} characters"),
        ("minItems", "at least {} entries"),
        ("maxItems", "at most {} entries"),
        ("pattern", "like `{}`"),
        ("default", "default `{}`"),
    ):
        if key in schema and schema[key] not in (None, []):
            bounds.append(f"{words.format(_plain(schema[key])).capitalize()}.")
    return " ".join(bounds)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_shown(name: str) -> bool:
    # The introduction describes pages; flask-smorest declares PaginationMetadata, which no answer has.
    return name != "PaginationMetadata" and not name.endswith("Page")


def main() -> None:
    """Write the page."""
    TARGET.write_text(reference(description()))
    sys.stdout.write(f"Wrote {TARGET}.\n")


if __name__ == "__main__":
    main()
