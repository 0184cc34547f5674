"""Ad accounts over HTTP: their state, paused, resumed, made faster or slower."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.ledger.shop import TOKEN, pend, place
from worker.api import context
from worker.ledger.database import Ledger
from worker.ledger.delivery import new_batches
from worker.ledger.delivery.new_batches import BatchGroup
from worker.ledger.setup import ad_accounts as store
from worker.ledger.setup.integrations import Integration
from worker.operations.setup.accounts import _account_state

ACCOUNTS = "/v1/admin/accounts"
NOW = 1_750_000_600.0  # Ten minutes after the shop's events.


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "now", lambda: NOW)


def post(api: Api, path: str, body: Any = None) -> Any:
    answer = api.call("POST", f"{ACCOUNTS}/{path}", body)
    assert answer.status_code == 200, answer.text
    return answer.json


def told(api: Api) -> list[tuple[str, str, Any]]:
    return [
        (one["action"], one["object"], one["changes"]) for one in reversed(api.get("/v1/admin/audit")["data"])
    ]


def test_an_account_shows_its_rate_and_what_waits(api: Api, ledger: Ledger, shop: Integration) -> None:
    pend(ledger, shop, 3)
    with ledger.write() as connection:
        new_batches.claim_batch(
            connection, BatchGroup(shop.credential_id, shop.ad_account, False, False), 24, NOW
        )
    pend(ledger, shop, 2, "late", accepted_at=NOW - 60)

    assert api.get(ACCOUNTS)["data"] == [
        {
            "ad_account_id": shop.ad_account_id,
            "state": "running",
            "reason": None,
            "rate_limit_rps": 100.0,
            "rate_limit_burst": 200,
            "pending": 2,
            "in_flight": 3,
            "oldest_waiting_seconds": 60.0,
            "credentials": [
                {
                    "id": shop.credential_id,
                    "state": "running",
                    "paused_at": None,
                    "paused_by": None,
                    "paused_class": None,
                    "paused_reason": None,
                    "breaker_failures": 0,
                    "breaker_open_until": None,
                    "token_expires_at": None,
                }
            ],
        }
    ]


def test_nothing_waits_nowhere(api: Api, shop: Integration) -> None:
    (one,) = api.get(ACCOUNTS)["data"]

    assert (one["pending"], one["in_flight"], one["oldest_waiting_seconds"]) == (0, 0, None)


def test_a_pause_is_told_once_and_ends(api: Api, shop: Integration) -> None:
    paused = post(api, f"{shop.ad_account_id}/pause", {"reason": "Legal asked."})
    post(api, f"{shop.ad_account_id}/pause", {"reason": "Again."})

    assert (paused["state"], paused["reason"]) == ("paused", "Legal asked.")
    assert api.get(f"{ACCOUNTS}/{shop.ad_account_id}") == paused
    (credential,) = paused["credentials"]
    assert (credential["paused_by"], credential["paused_class"], credential["paused_at"]) == (
        "admin",
        "by_hand",
        "2025-06-15T15:16:40.000Z",
    )
    assert post(api, f"{shop.ad_account_id}/resume")["state"] == "running"
    assert post(api, f"{shop.ad_account_id}/resume")["reason"] is None
    assert told(api) == [
        ("account.pause", shop.ad_account_id, {"reason": [None, "Legal asked."]}),
        ("account.resume", shop.ad_account_id, {"reason": ["Legal asked.", None]}),
    ]


def test_a_pause_needs_no_reason(api: Api, shop: Integration) -> None:
    assert post(api, f"{shop.ad_account_id}/pause")["reason"] == "Paused manually."


def test_an_account_whose_one_token_is_bad_is_paused_in_part(
    api: Api, ledger: Ledger, shop: Integration
) -> None:
    place(ledger, source_id="src_other", token=f"{TOKEN}_2")
    with ledger.write() as connection:
        store.pause_credential(connection, shop.credential_id, "unauthorized", "HTTP 401", "delivery", NOW)

    (one,) = api.get(ACCOUNTS)["data"]
    assert (one["state"], one["reason"], len(one["credentials"])) == ("partly_paused", "HTTP 401", 2)


def test_an_open_breaker_shows(api: Api, ledger: Ledger, shop: Integration) -> None:
    with ledger.write() as connection:
        store.set_breaker(connection, shop.credential_id, 5, NOW + 30)

    (one,) = api.get(ACCOUNTS)["data"]
    assert (one["state"], one["credentials"][0]["breaker_open_until"]) == (
        "breaker_open",
        "2025-06-15T15:17:10.000Z",
    )
    assert "failed 5 times in a row" in one["reason"]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["running"], "running"),
        (["running", "breaker_open"], "breaker_open"),
        (["paused", "breaker_open"], "partly_paused"),
        (["running", "paused"], "partly_paused"),
        (["paused", "paused"], "paused"),
    ],
)
def test_the_worst_credential_names_the_state(states: list[str], expected: str) -> None:
    assert _account_state(states) == expected


def test_a_rate_is_changed_in_part_and_told(api: Api, shop: Integration) -> None:
    path = f"{ACCOUNTS}/{shop.ad_account_id}"
    changed = api.change(path, {"rate_limit_rps": 12.5})
    api.change(path, {"rate_limit_rps": 12.5})
    again = api.change(path, {"rate_limit_burst": 20, "rate_limit_rps": 12.5})

    assert (changed["rate_limit_rps"], changed["rate_limit_burst"]) == (12.5, 200)
    assert (again["rate_limit_rps"], again["rate_limit_burst"]) == (12.5, 20)
    assert told(api) == [
        ("account.rate", shop.ad_account_id, {"rate_limit_rps": [100.0, 12.5]}),
        ("account.rate", shop.ad_account_id, {"rate_limit_burst": [200, 20]}),
    ]


def test_accounts_come_page_by_page(api: Api, ledger: Ledger, shop: Integration) -> None:
    place(ledger, ad_account_id="1")
    place(ledger, ad_account_id="9")
    first = api.get(f"{ACCOUNTS}?limit=2")
    second = api.get(f"{ACCOUNTS}?limit=2&cursor={first['next_cursor']}")

    assert [one["ad_account_id"] for one in first["data"] + second["data"]] == ["1", shop.ad_account_id, "9"]
    assert (first["has_more"], second["has_more"]) == (True, False)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/x"), ("PATCH", "/x"), ("POST", "/x/pause"), ("POST", "/x/resume")],
)
def test_an_account_that_nothing_delivers_to_is_not_there(
    api: Api, shop: Integration, method: str, path: str
) -> None:
    body = {"rate_limit_rps": 1} if method == "PATCH" else None

    assert api.error(method, f"{ACCOUNTS}{path}", body) == (404, "There is no ad account x.")


@pytest.mark.parametrize(
    ("method", "path", "body", "sentence"),
    [
        ("PATCH", "", {}, "body: give rate_limit_rps, rate_limit_burst or both"),
        ("PATCH", "", {"rate_limit_rps": 0}, "rate_limit_rps: must be between 0.01 and 100,000"),
        ("PATCH", "", {"rate_limit_rps": "5"}, "rate_limit_rps: must be a number"),
        ("PATCH", "", {"rate_limit_burst": 1.5}, "rate_limit_burst: must be a whole number"),
        ("PATCH", "", {"rate_limit_burst": 0}, "rate_limit_burst: must be between 1 and 100,000"),
        ("PATCH", "", {"rps": 5}, "rps: is not a known field"),
        ("POST", "/pause", {"reason": ""}, "reason: must be 1 to 300 characters"),
        ("POST", "/pause", {"why": "x"}, "why: is not a known field"),
    ],
)
def test_what_is_wrong_is_named(
    api: Api, shop: Integration, method: str, path: str, body: Any, sentence: str
) -> None:
    assert api.error(method, f"{ACCOUNTS}/{shop.ad_account_id}{path}", body) == (422, sentence)
