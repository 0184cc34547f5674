"""Read the request, the call and the payloads that the product's description prints."""

import json
import re
from pathlib import Path
from typing import Any

TEXT = (Path(__file__).parent / "document.txt").read_text()


def _between(start: str, end: str) -> str:
    begin = TEXT.index(start)
    return TEXT[begin : TEXT.index(end, begin) + len(end)]


def curl_command() -> str:
    """Return the request that creates an integration."""
    return _between("curl -X POST http://localhost:8084", "}'")


def checkout_call() -> tuple[str, dict[str, Any]]:
    """Return name and properties of the ``_df.track`` call."""
    call = _between("_df.track(", "});").removeprefix("_df.track(").removesuffix(");")
    name, _, properties = call.partition(", ")
    # JavaScript leaves the keys of an object without quotes; JSON does not.
    return json.loads(name), json.loads(re.sub(r"([{,]\s*)(\w+):", r'\1"\2":', properties))


def payload(of: str) -> dict[str, Any]:
    """Return the one event of the payload below a headline."""
    text = TEXT[TEXT.index(of) :]
    found, _ = json.JSONDecoder().raw_decode(text[text.index('{\n  "data"') :])
    (event,) = found["data"]
    return dict(event)
