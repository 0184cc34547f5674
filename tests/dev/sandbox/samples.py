"""Sample requests for a sandbox, and the published schemas to validate them."""

import json
import time
from pathlib import Path
from typing import Any

import requests
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from worker.dev.sandbox.server import Sandbox

DIGEST = "836f82db99121b3481011f16b49dfa5fbc714a0d1b1b9f784a1ebbbf5b39577f"
ACCOUNT = "1234567890"
TOKEN = "pina_secret"
HERE = Path(__file__).parent


def event(event_id: str | None = "evt_1", **changes: Any) -> dict[str, Any]:
    """Make a page visit; a change to None removes the key."""
    made = {
        "event_name": "page_visit",
        "action_source": "web",
        "event_time": int(time.time()),
        "event_id": event_id,
        "user_data": {"em": [DIGEST]},
        **changes,
    }
    return {key: value for key, value in made.items() if value is not None}


def events(count: int) -> list[dict[str, Any]]:
    return [event(f"evt_{n}") for n in range(count)]


def post(
    sandbox: Sandbox,
    data: object,
    *,
    account: str = ACCOUNT,
    token: str | None = TOKEN,
    test: bool = False,
    timeout: float = 10.0,
) -> requests.Response:
    """Post events as a client would."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return requests.post(
        sandbox.events_url(account, test=test), json={"data": data}, headers=headers, timeout=timeout
    )


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((HERE / f"pinterest-events-{name}.schema.json").read_text())
    return loaded


def validator(name: str) -> Draft202012Validator:
    """Build a validator that does not accept 1.0 as an integer."""
    strict = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    made: Draft202012Validator = extend(Draft202012Validator, type_checker=strict)(schema(name))
    return made
