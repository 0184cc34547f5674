"""Failed deliveries over HTTP: looked at, sent again once, given up, exported."""

import json
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.ledger.shop import close, new, place, stand, write
from worker.api import context
from worker.ledger.database import Ledger
from worker.ledger.schema import State
from worker.ledger.setup import access
from worker.ledger.setup.access import Role
from worker.ledger.setup.integrations import Integration
from worker.operations.deliveries import failed as operations
from worker.pipeline.upkeep import outage_retries

FAILED = "/v1/admin/failed"
NOW = 1_893_456_000.0  # 2030-01-01T00:00:00Z
HOUR, DAY = 3_600, 86_400


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "now", lambda: NOW)


def fail(ledger: Ledger, shop: Integration, *event_ids: str, at: float = NOW, **changes: Any) -> None:
    given = {
        "state": State.FAILED,
        "reason_class": "refused",
        "reason": "missing email",
        "event_time": int(at),
        "accepted_at": at,
    }
    write(ledger, [new(ledger, shop, event_id, **(given | changes)) for event_id in event_ids], at)


def post(api: Api, what: str, body: Any) -> Any:
    answer = api.call("POST", f"{FAILED}/{what}", body)
    assert answer.status_code == 200, answer.text
    return answer.json


def actions(api: Api) -> list[tuple[str, str]]:
    return [(one["actor"], one["action"]) for one in reversed(api.get("/v1/admin/audit")["data"])]


def test_a_failed_delivery_is_shown_with_its_reason(api: Api, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", at=NOW - 2 * HOUR)

    assert api.get(FAILED) == {
        "data": [
            {
                "id": 1,
                "integration_id": shop.id,
                "ad_account_id": shop.ad_account_id,
                "event_name": "checkout",
                "source_name": "Order Completed",
                "event_id": "e1",
                "event_time": "2029-12-31T22:00:00.000Z",
                "failed_at": "2029-12-31T22:00:00.000Z",
                "reason_class": "refused",
                "reason": "missing email",
                "warning": None,
                "test": False,
                "offline": False,
                "late": True,
                "stale": False,
                "has_payload": True,
                "may_have_arrived": False,
                "batch_id": None,
            }
        ],
        "next_cursor": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["e1", "e2", "e3", "e4"]),
        ("ad_account_id=2", ["e4"]),
        ("integration_id=int_src_shop_2", ["e4"]),
        ("reason_class=malformed", ["e2"]),
        ("event_name=search", ["e3"]),
        ("event_name=", []),
        ("event_id=e3", ["e3"]),
        ("since=90m", ["e2", "e3", "e4"]),
        ("since=2029-12-31T23:00:00Z", ["e2", "e3", "e4"]),
        ("since=2029-12-31T23:00:00&reason_class=refused", ["e3", "e4"]),
    ],
)
def test_each_filter_narrows_list_summary_and_export(
    api: Api, ledger: Ledger, shop: Integration, query: str, expected: list[str]
) -> None:
    other = place(ledger, ad_account_id="2")
    fail(ledger, shop, "e1", at=NOW - 2 * HOUR)
    fail(ledger, shop, "e2", reason_class="malformed")
    fail(ledger, shop, "e3", event_name="search")
    fail(ledger, other, "e4")

    assert [one["event_id"] for one in api.get(f"{FAILED}?{query}")["data"]] == expected
    assert api.get(f"{FAILED}/summary?{query}")["total"] == len(expected)
    exported = api.call("GET", f"{FAILED}/export?{query}").text.splitlines()
    assert [json.loads(line)["event_id"] for line in exported] == expected


def test_pages_follow_one_another(api: Api, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, *(f"e{number}" for number in range(5)))
    first = api.get(f"{FAILED}?limit=3")
    second = api.get(f"{FAILED}?limit=3&cursor={first['next_cursor']}")

    assert [one["event_id"] for one in first["data"] + second["data"]] == ["e0", "e1", "e2", "e3", "e4"]
    assert (first["has_more"], second["has_more"], second["next_cursor"]) == (True, False, None)


def test_the_summary_groups_by_reason(api: Api, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", at=NOW - DAY)
    fail(ledger, shop, "e2")
    fail(ledger, shop, "e3", reason_class="malformed", reason="HTTP 400")

    first, second = api.get(f"{FAILED}/summary")["groups"]
    assert first == {
        "ad_account_id": shop.ad_account_id,
        "event_name": "checkout",
        "reason_class": "refused",
        "reason": "missing email",
        "count": 2,
        "first_failed_at": "2029-12-31T00:00:00.000Z",
        "last_failed_at": "2030-01-01T00:00:00.000Z",
        "trend": [0] * 12 + [1, 1],
        "state": "open",
        "decided_at": None,
        "decided_by": "",
    }
    assert (second["reason"], second["count"]) == ("HTTP 400", 1)


def test_one_is_shown_with_its_payload_only_when_asked_which_is_audited(
    api: Api, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "e1")
    plain = api.get(f"{FAILED}/1")
    assert (plain["event_id"], plain["tries"], "payload" in plain) == ("e1", [], False)
    assert actions(api) == []

    opened = api.get(f"{FAILED}/1?payload=true")["payload"]
    assert opened == {"event_id": "e1", "event_name": "checkout"}
    assert actions(api) == [("admin", "failed.show_payload")]


def test_a_viewer_sees_everything_but_payloads(api: Api, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1")
    with ledger.write() as connection:
        _, token = access.insert_token(connection, ledger.vault, "lena", Role.VIEWER, "admin", NOW)
    headers = {"Authorization": f"Bearer {token}"}

    assert api.call("GET", f"{FAILED}/1", headers=headers).status_code == 200
    status, said = api.error("GET", f"{FAILED}/1?payload=true", headers=headers)
    assert (status, "viewer" in said) == (403, True)
    assert actions(api) == []


def test_one_that_failed_before_it_was_mapped_has_no_payload(
    api: Api, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "e1", payload=None)

    assert api.get(f"{FAILED}/1?payload=true")["payload"] is None


@pytest.mark.parametrize("number", ["2", "0", "x", "9" * 19, "9" * 30, "%C2%B2", "-1"])
def test_there_is_no_other(api: Api, ledger: Ledger, shop: Integration, number: str) -> None:
    fail(ledger, shop, "e1")

    assert api.error("GET", f"{FAILED}/{number}")[0] == 404


def test_a_retry_sends_once_however_often_it_is_pressed(api: Api, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", "e2", "e3")

    assert post(api, "retry", {"ids": [1, 2]}) == {
        "dry_run": False,
        "retried": 2,
        "late": 0,
        "offline": 0,
        "warnings": [],
        "in_vain": [{"reason": "the same content was refused before, and it is sent unchanged", "count": 2}],
        "left_alone": [],
        "left": 0,
        "next_cursor": None,
    }
    again = post(api, "retry", {"ids": [1, 2]})
    assert again["retried"] == 0
    assert again["left_alone"] == [{"reason": "not failed, or no longer failed", "count": 2}]
    assert stand(ledger) == {"pending": 2, "failed": 1}
    assert actions(api) == [("admin", "failed.retry")]


def test_a_dry_run_counts_and_changes_nothing(api: Api, ledger: Ledger, shop: Integration) -> None:
    """Two copies of an event count as one, as they would."""
    fail(ledger, shop, "e1", "e1", "e2")
    told = post(api, "retry", {"filter": {}, "dry_run": True})

    assert (told["dry_run"], told["retried"]) == (True, 2)
    assert told["left_alone"][0]["count"] == 1
    assert stand(ledger) == {"failed": 3}
    done = post(api, "retry", {"filter": {}})
    assert (done["retried"], done["left_alone"]) == (told["retried"], told["left_alone"])
    assert actions(api) == [("admin", "failed.retry")]


def test_late_and_offline_ones_are_warned_of_and_stale_ones_need_force(
    api: Api, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "late", at=NOW - 2 * HOUR)
    fail(ledger, shop, "offline", offline=True)
    fail(ledger, shop, "stale", at=NOW - 8 * DAY)
    fail(ledger, shop, "unmapped", payload=None)
    told = post(api, "retry", {"filter": {}})

    assert (told["retried"], told["late"], told["offline"]) == (2, 1, 1)
    assert told["warnings"] == [
        "1 is over an hour old: Pinterest counts it as offline and may not deduplicate it.",
        "1 is an offline event: Pinterest cannot deduplicate it.",
    ]
    assert {one["reason"] for one in told["left_alone"]} == {
        "older than 7 days: Pinterest refuses it, unless forced",
        "nothing to send: it failed before it was mapped",
    }
    assert post(api, "retry", {"filter": {}, "force": True})["retried"] == 1


def test_one_call_does_a_bounded_amount_and_says_where_to_go_on(
    api: Api, ledger: Ledger, shop: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing of it can be sent, so that no caller goes round in circles."""
    monkeypatch.setattr(outage_retries, "_ROWS_PER_STEP", 2)
    monkeypatch.setattr(operations, "MOST_A_CALL", 3)
    fail(ledger, shop, "e0", "e1", "e2", payload=None)
    fail(ledger, shop, "e3", "e4")
    first = post(api, "retry", {"filter": {}})
    second = post(api, "retry", {"filter": {}, "cursor": first["next_cursor"]})

    assert (first["retried"], first["left_alone"][0]["count"], first["left"]) == (0, 3, 2)
    assert (second["retried"], second["left"], second["next_cursor"]) == (2, 0, None)


def test_discarding_removes_what_would_be_sent_and_keeps_the_books(
    api: Api, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "e1", "e2")
    fail(ledger, shop, "e3", reason_class="malformed")
    body = {"filter": {"reason_class": "refused", "integration_id": shop.id}, "reason": "not worth it"}

    assert post(api, "discard", body | {"dry_run": True})["discarded"] == 2
    assert stand(ledger) == {"failed": 3}
    assert post(api, "discard", body)["discarded"] == 2
    assert post(api, "discard", body)["discarded"] == 0
    assert stand(ledger) == {"failed": 1, "discarded": 2}
    close(ledger)
    assert api.get("/v1/admin/audit")["data"][0]["changes"] == {"ids": [1, 2], "reason": "not worth it"}


def test_the_export_streams_without_payloads(api: Api, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, *(f"e{number}" for number in range(1_201)))
    answer = api.call("GET", f"{FAILED}/export")
    lines = answer.text.splitlines()

    assert "Content-Length" not in answer.headers
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Cache-Control"] == "no-store"
    assert len(lines) == 1_201
    assert json.loads(lines[-1]) | {"tries": []} == api.get(f"{FAILED}/1201")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "limit: must be between 1 and 100"),
        ("limit=x", "limit: must be a whole number"),
        ("cursor=x", "cursor: must be a next_cursor from this list"),
        ("since=yesterday", "since: must be like 90m, 24h, 7d or 2030-01-29T14:53:20Z"),
        ("since=999999d", "since: must be like 90m, 24h, 7d or 2030-01-29T14:53:20Z"),
        ("since=", "since: must be like 90m, 24h, 7d or 2030-01-29T14:53:20Z"),
        ("integration_id=int_x", "integration_id: there is no integration int_x"),
        ("reason=refused", "reason: is not a known field"),
        ("reason_class=", "reason_class: must be 1 to 64 characters"),
    ],
)
def test_a_wrong_query_names_its_field(api: Api, query: str, sentence: str) -> None:
    assert api.error("GET", f"{FAILED}?{query}") == (422, sentence)


@pytest.mark.parametrize(
    ("what", "body", "sentence"),
    [
        ("retry", {}, "ids: give either ids or a filter"),
        ("retry", {"ids": [1], "filter": {}}, "ids: give either ids or a filter"),
        ("retry", {"ids": []}, "ids: must be 1 to 10,000 ids"),
        ("retry", {"ids": ["1"]}, "ids.0: must be a whole number"),
        ("retry", {"ids": [0]}, "ids.0: must be between 1 and 9,223,372,036,854,775,807"),
        ("retry", {"ids": [1, 2**63]}, "ids.1: must be between 1 and 9,223,372,036,854,775,807"),
        ("retry", {"ids": [1], "cursor": "MQ"}, "cursor: goes with a filter only"),
        (
            "retry",
            {"filter": {"since": "x"}},
            "filter.since: must be like 90m, 24h, 7d or 2030-01-29T14:53:20Z",
        ),
        (
            "retry",
            {"filter": {"integration_id": "int_x"}},
            "filter.integration_id: there is no integration int_x",
        ),
        ("retry", {"filter": {"class": "x"}}, "filter.class: is not a known field"),
        ("retry", {"filter": {}, "force": "yes"}, "force: must be true or false"),
        ("retry", {"filter": {}, "reason": "x"}, "reason: is not a known field"),
        ("discard", {"filter": {}}, "reason: is required"),
        ("discard", {"filter": {}, "reason": " "}, "reason: must be 1 to 300 characters"),
        ("discard", {"filter": [], "reason": "x"}, "filter: must be an object"),
    ],
)
def test_a_wrong_body_names_its_field(api: Api, what: str, body: Any, sentence: str) -> None:
    assert api.error("POST", f"{FAILED}/{what}", body) == (422, sentence)
