"""Write docs/api.md out of the Management API's own description: ``make docs``."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "api.md"

Spec = dict[str, Any]

_HEAD = """\
# Management API

`make docs` writes this page out of the description that the API serves itself.
It serves it with Swagger UI under `/v1/admin/docs`, and as OpenAPI under `/v1/admin/docs/openapi.json`.
The calls that bring events are on a [page of their own](collector.md).

Every call shows a token: `Authorization: Bearer YOUR_TOKEN`.
Bodies and answers are JSON.
An error says which field is wrong and why: `{"error": {"code": "UPPER_SNAKE", "message": "…"}}`.
A list answers `{"data": […], "next_cursor": …, "has_more": …}`; `cursor` takes the `next_cursor` of the page before.
"""


def reference(spec: Spec) -> str:
    """Return the page: each call with what it takes and answers, then every shape with its fields."""
    parts = [_HEAD]
    for tag in spec["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}.\n")
        parts.extend(_call(*call) for call in _calls(spec) if tag["name"] in call[2]["tags"])
    parts.append("## Shapes\n\nFields in bold must be given.\n")
    shapes = spec["components"]["schemas"]
    parts.extend(_shape(name, shapes[name]) for name in sorted(shapes) if _is_shown(name))
    return "\n".join(parts)


def description() -> Spec:
    """Return the OpenAPI description, as the running API serves it."""
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
    lines = [f"### {method} {path}", "", call["summary"], ""]
    parameters = [one for one in call.get("parameters", []) if one["in"] == "query"]
    if parameters:
        lines += ["| in the address | type | meaning |", "|---|---|---|"]
        lines += [_row(one["name"], one["schema"], one, one.get("required", False)) for one in parameters]
        lines.append("")
    body = _content(call.get("requestBody", {}))
    answers = [
        _answer(status, told) for status, told in sorted(call["responses"].items()) if status[0] == "2"
    ]
    taken = [f"Takes {_type(body)}."] if body else []
    return "\n".join([*lines, " ".join([*taken, *answers]), ""])


def _answer(status: str, told: Spec) -> str:
    body = _content(told)
    return f"Answers {status} with {_type(body)}." if body else f"Answers {status}."


def _content(holder: Spec) -> Spec | None:
    for told in holder.get("content", {}).values():
        return dict(told["schema"])
    return None


def _shape(name: str, shape: Spec) -> str:
    rows = _fields("", shape)
    return "\n".join([f"### {name}", "", "| field | type | meaning |", "|---|---|---|", *rows, ""])


def _fields(within: str, shape: Spec) -> Iterator[str]:
    for field, schema in shape.get("properties", {}).items():
        yield _row(f"{within}{field}", schema, schema, field in shape.get("required", []))
        yield from _fields(f"{within}{field}.", schema)


def _row(name: str, schema: Spec, told: Mapping[str, Any], required: bool) -> str:
    shown = f"**`{name}`**" if required else f"`{name}`"
    meaning = [str(told.get("description", "")), _bounds(schema)]
    return f"| {shown} | {_type(schema)} | {' '.join(filter(None, meaning)).replace('|', chr(92) + '|')} |"


def _type(schema: Spec | None) -> str:
    if not schema:
        return "anything"
    for ways in ("allOf", "anyOf", "oneOf"):
        if ways in schema:
            return " or ".join(_type(way) for way in schema[ways])
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    kinds = schema.get("type", "anything")
    kind = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if kind == "array":
        return f"list of {_type(schema.get('items'))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return kind + (" or null" if schema.get("nullable") else "")


def _bounds(schema: Spec) -> str:
    said = []
    if "enum" in schema:
        said.append("One of " + ", ".join(f"`{one}`" for one in schema["enum"] if one is not None) + ".")
    for key, words in (
        ("minimum", "at least {}"),
        ("maximum", "at most {}"),
        ("minLength", "at least {} characters"),
        ("maxLength", "at most {} characters"),
        ("minItems", "at least {} entries"),
        ("maxItems", "at most {} entries"),
        ("pattern", "like `{}`"),
        ("default", "`{}` where left out"),
    ):
        if key in schema and schema[key] not in (None, []):
            said.append(f"{words.format(_plain(schema[key])).capitalize()}.")
    return " ".join(said)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_shown(name: str) -> bool:
    # flask-smorest declares it, and no answer of ours has it.
    return name != "PaginationMetadata"


def main() -> None:
    """Write the page."""
    TARGET.write_text(reference(description()))
    sys.stdout.write(f"{TARGET} is written.\n")


if __name__ == "__main__":
    main()
