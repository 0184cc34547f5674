"""Owners erase a person over the API."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from tests.api.conftest import Api
from tests.api.test_roles import token
from tests.ledger import shop
from worker.ledger.database import Ledger
from worker.ledger.setup import audit_log
from worker.ledger.setup.access import Role
from worker.operations.person import erasing, person_requests

PATH = "/v1/admin/erasures"
KIM = "kim@example.com"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_SETTLING_SECONDS", 0.0)


@pytest.fixture
def known(ledger: Ledger) -> Ledger:
    """Let an event of Kim wait."""
    event = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m",
        "context": {"traits": {"email": KIM}},
    }
    shop.accept(ledger, [event], received_at=time.time())
    return ledger


def erase(api: Api, **body: Any) -> dict[str, Any]:
    answer = api.call("POST", PATH, body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json
    return told


def test_a_person_is_erased_once_and_a_dry_run_only_counts(api: Api, known: Ledger) -> None:
    none = dict.fromkeys(("visitors", "deliveries_kept", "being_sent", "debugged", "unreadable"), 0)
    counted = none | {"events": 1, "deliveries": {}}
    assert erase(api, emails=[KIM], dry_run=True) == counted | {"dry_run": True}
    assert erase(api, emails=[KIM]) == counted | {"dry_run": False}
    assert erase(api, emails=[KIM])["events"] == 0
    with known.read() as connection:
        last = audit_log.newest_audit_entries(connection, 1)[0]
    assert (last["action"], last["object"]) == ("person.erase", "emails")
    assert KIM not in str(last)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.EDITOR])
def test_only_owners_may(app: Flask, known: Ledger, role: Role) -> None:
    headers = {"Authorization": f"Bearer {token(known, role)[1]}"}
    assert app.test_client().post(PATH, headers=headers, json={"emails": [KIM]}).status_code == 403
    owner = {"Authorization": f"Bearer {_second_owner(known)}"}
    assert app.test_client().post(PATH, headers=owner, json={"emails": [KIM]}).status_code == 200


def _second_owner(ledger: Ledger) -> str:
    from worker.ledger.setup import access

    with ledger.write() as connection:
        return access.insert_token(connection, ledger.vault, "Owner", Role.OWNER, "test", time.time())[1]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "emails: must be given, or another identifier"),
        ({"emails": ["kim"]}, "emails: must be an e-mail address like kim@example.com"),
        ({"emails": KIM}, "emails: must be a list"),
        (
            {"email_hashes": [KIM]},
            "email_hashes: must be a SHA-256 of 64 hex digits, and not that of nothing",
        ),
        ({"anonymous_ids": ["x"] * 21}, "anonymous_ids: must be at most 20 identifiers"),
        ({"phone": "1"}, "phone: is not a known field"),
    ],
)
def test_what_is_no_identifier_is_refused_by_its_field_and_not_repeated(
    api: Api, body: dict[str, Any], sentence: str
) -> None:
    assert api.error("POST", PATH, body) == (422, sentence)


@pytest.fixture
def running() -> Iterator[None]:
    with person_requests._RUNNING:
        yield


@pytest.mark.usefixtures("running")
def test_one_runs_at_a_time(api: Api) -> None:
    message = "Another request about a person is running; wait for it to end, then try again."
    assert api.error("POST", PATH, {"emails": [KIM]}) == (409, message)
