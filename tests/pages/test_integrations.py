"""Setting up integrations on the pages."""

import re
import time
from typing import Any

import pytest
import responses

from tests.api.conftest import Api
from tests.pages.conftest import ACCESS_TOKEN, ACCOUNT, Pages, write
from worker.ledger.database import Ledger
from worker.ledger.setup import ad_accounts, audit_log
from worker.ledger.setup.integrations import Integration
from worker.operations.setup import connection_check
from worker.pinterest.client.client import Answer, SendFailure

ADD = "/integrations/add/pinterest"
FILLED = {
    "source_id": "src_abc123",
    "ad_account_id": "1234567890",
    "access_token": "your_access_token",
    "consent_categories": ["advertising"],
    "name": "Pinterest Conversions",
    "field_mapping": "signal",
    "clean_free_text": "yes",
    "dedupe_by_business_id": "yes",
}


def test_the_way_leads_through_the_list_to_the_form(pages: Pages, source: dict[str, Any]) -> None:
    assert f'href="{ADD.rpartition("/")[0]}">Add Integration</a>' in pages.get("/integrations")
    assert f'<a href="{ADD}">Pinterest Conversions API</a>' in pages.get("/integrations/add")
    form = pages.get(ADD)
    assert 'value="advertising" checked' in form
    assert 'value="analytics" checked' not in form


def test_without_a_source_the_form_says_what_comes_first(pages: Pages) -> None:
    assert "Add a source first" in pages.get(ADD)


def test_what_the_document_says_makes_the_integration(pages: Pages, api: Api, source: dict[str, Any]) -> None:
    page = pages.follow(pages.send(ADD, FILLED))

    (made,) = api.get("/v1/admin/integrations")["data"]
    assert made["name"] == "Pinterest Conversions"
    assert made["source_id"] == "src_abc123"
    assert made["consent_categories"] == ["advertising"]
    assert made["config"]["ad_account_id"] == "1234567890"
    assert "Test the connection" in page


def test_the_access_token_never_comes_back(pages: Pages, shop: Integration) -> None:
    wrong = FILLED | {"ad_account_id": "no digits", "source_id": "src_shop"}
    shown = [
        pages.send(ADD, wrong).text,
        *(pages.get(path) for path in ("/integrations", f"/integrations/{shop.id}", "/audit")),
        pages.get(f"/integrations/{shop.id}/change"),
    ]

    for page in shown:
        assert "your_access_token" not in page
        assert ACCESS_TOKEN not in page


@pytest.mark.parametrize(
    ("field", "wrong", "sentence"),
    [
        ("ad_account_id", "12 34", "Must be a text of 1 to 18 digits, as Pinterest Ads Manager shows it."),
        ("access_token", "", "Is missing."),
        ("name", "", "Must be 1 to 200 characters."),
        ("rate_limit_rps", "many", "Must be a number above 0 and at most 100000."),
        ("event_overrides", "Newsletter", "This line is not like"),
        ("event_overrides", "{", "This is not JSON"),
        ("event_overrides", "Newsletter = nonsense", "nonsense"),
        ("default_country", "Germany", "Must be a country"),
        ("default_currency", "Eu", "Must be a currency"),
        ("consent_categories", ["nonsense"], "must be one of"),
        ("source_id", "src_none", "There is no source src_none."),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_the_rest_is_kept(
    pages: Pages, source: dict[str, Any], field: str, wrong: Any, sentence: str
) -> None:
    answer = pages.send(ADD, FILLED | {field: wrong})

    assert answer.status_code == 422
    _, _, error = answer.text.partition(f'id="{field}-error">')
    assert error.startswith(sentence.replace("'", "&#39;")) or sentence in error.partition("</p>")[0]
    if field != "name":
        assert 'value="Pinterest Conversions"' in answer.text


def test_all_that_is_wrong_is_said_at_once(pages: Pages, source: dict[str, Any]) -> None:
    wrong = {
        "ad_account_id": "12 34",
        "access_token": "with blanks",
        "name": "",
        "rate_limit_rps": "-3",
        "event_overrides": "Newsletter",
        "default_country": "XX",
    }
    answer = pages.send(ADD, FILLED | wrong)

    assert re.findall(r'class="error" id="(\w+)-error"', answer.text) == [
        "ad_account_id",
        "access_token",
        "name",
        "rate_limit_rps",
        "event_overrides",
        "default_country",
    ]
    assert "6 fields are invalid." in answer.text


def test_a_change_says_all_that_is_wrong_at_once(pages: Pages, shop: Integration) -> None:
    wrong = {"ad_account_id": "x", "rate_limit_burst": "0", "event_overrides": "Newsletter = nonsense"}
    answer = pages.send(f"/integrations/{shop.id}/change", FILLED | wrong)

    assert answer.status_code == 422
    assert re.findall(r'class="error" id="(\w+)-error"', answer.text) == list(wrong)


def test_a_second_one_to_the_same_ad_account_is_refused_in_a_sentence(
    pages: Pages, shop: Integration
) -> None:
    answer = pages.send(ADD, FILLED | {"source_id": "src_shop", "ad_account_id": ACCOUNT})

    assert answer.status_code == 422
    sentence = f'id="ad_account_id-error">src_shop delivers to ad account {ACCOUNT} already'
    assert sentence in answer.text


def test_a_change_keeps_what_was_not_touched(pages: Pages, api: Api, shop: Integration) -> None:
    before = api.get(f"/v1/admin/integrations/{shop.id}")
    fields = {
        "name": "New name",
        "ad_account_id": ACCOUNT,
        "consent_categories": ["advertising", "analytics"],
        "field_mapping": "pinterest",
        "event_overrides": "Newsletter Opened = lead\nOld = drop",
        "advertiser_events": "Wishlist_Shared",
        "rate_limit_rps": "12.5",
        "rate_limit_burst": "20",
        "clean_free_text": "yes",
        "dedupe_by_business_id": "yes",
        "test_mode": "yes",
    }
    page = pages.follow(pages.send(f"/integrations/{shop.id}/change", fields))

    after = api.get(f"/v1/admin/integrations/{shop.id}")
    assert "Saved." in page
    assert after["name"] == "New name"
    assert after["consent_categories"] == ["advertising", "analytics"]
    assert after["config"] == before["config"] | {
        "field_mapping": "pinterest",
        "event_overrides": {"Newsletter Opened": "lead", "Old": "drop"},
        "advertiser_events": ["Wishlist_Shared"],
        "rate_limit_rps": 12.5,
        "rate_limit_burst": 20,
        "test_mode": True,
    }
    form = pages.get(f"/integrations/{shop.id}/change")
    assert "Newsletter Opened = lead\nOld = drop</textarea>" in form
    assert 'value="12.5"' in form


def test_saving_a_form_as_it_came_changes_nothing(
    pages: Pages, api: Api, shop: Integration, ledger: Ledger
) -> None:
    before = api.get(f"/v1/admin/integrations/{shop.id}")
    fields = {
        "name": shop.name,
        "ad_account_id": ACCOUNT,
        "consent_categories": ["advertising"],
        "field_mapping": "signal",
        "rate_limit_rps": "70",
        "rate_limit_burst": "140",
        "clean_free_text": "yes",
        "dedupe_by_business_id": "yes",
    }
    pages.send(f"/integrations/{shop.id}/change", fields)

    assert api.get(f"/v1/admin/integrations/{shop.id}") == before
    with ledger.read() as connection:
        assert "integration.change" not in {
            entry["action"] for entry in audit_log.newest_audit_entries(connection, 10)
        }


def test_switching_off_and_on(pages: Pages, api: Api, shop: Integration) -> None:
    address = f"/integrations/{shop.id}/enabled"

    assert ">off</span>" in pages.follow(pages.send(address, {"enabled": "no"}))
    assert api.get(f"/v1/admin/integrations/{shop.id}")["enabled"] is False
    assert ">on</span>" in pages.follow(pages.send(address, {"enabled": "yes"}))


def test_pausing_and_resuming_stands_in_the_audit_log(
    pages: Pages, shop: Integration, ledger: Ledger
) -> None:
    address = f"/integrations/{shop.id}/paused"
    page = pages.follow(pages.send(address, {"paused": "yes", "reason": "Legal asked for it"}))

    assert "Legal asked for it" in page
    with ledger.read() as connection:
        assert ad_accounts.find_credential(connection, shop.credential_id).paused_by == "admin"
        assert audit_log.newest_audit_entries(connection, 1)[0]["changes"] == {
            "reason": [None, "Legal asked for it"]
        }
    assert "Pause</button>" in pages.follow(pages.send(address, {"paused": "no"}))
    with ledger.read() as connection:
        assert ad_accounts.find_credential(connection, shop.credential_id).paused_at is None


def test_an_open_breaker_is_closed_by_a_press(pages: Pages, shop: Integration, ledger: Ledger) -> None:
    assert "Try again now" not in pages.get(f"/integrations/{shop.id}")
    with ledger.write() as connection:
        ad_accounts.set_breaker(connection, shop.credential_id, 5, time.time() + 900)
    assert "Try again now" in pages.get(f"/integrations/{shop.id}")

    pages.follow(pages.send(f"/integrations/{shop.id}/paused", {"paused": "no"}))
    with ledger.read() as connection:
        assert ad_accounts.find_credential(connection, shop.credential_id).breaker_open_until is None


def test_deleting_says_beforehand_what_becomes_of_what_waits(
    pages: Pages, api: Api, ledger: Ledger, shop: Integration
) -> None:
    address = f"/integrations/{shop.id}/delete"
    assert "No event waits" in pages.get(address)
    write(ledger, shop, "e1", "e2")
    assert "2 events wait for delivery and would be discarded." in pages.get(address)

    # What came in after the page was opened is not discarded unseen.
    assert pages.send(address).location == address
    page = pages.follow(pages.send(address, {"discard": "yes"}))

    assert "Integration deleted." in page
    assert api.get("/v1/admin/integrations")["data"] == []


@responses.activate
def test_the_test_sends_one_event_that_is_not_recorded(pages: Pages, shop: Integration) -> None:
    url = f"https://api.pinterest.com/v5/ad_accounts/{ACCOUNT}/events?test=true"
    good = {"num_events_received": 1, "num_events_processed": 1, "events": [{"status": "processed"}]}
    responses.post(url, json=good)
    page = pages.send(f"/integrations/{shop.id}/test").text

    assert "The connection works." in page
    assert ACCESS_TOKEN not in page
    (call,) = responses.calls
    assert call.request.headers["Authorization"] == f"Bearer {ACCESS_TOKEN}"


def answer(status: int | None, body: bytes = b"{}", trouble: SendFailure | None = None) -> Answer:
    return Answer(status, {}, body, trouble, 0.2, "the host name was not found" if trouble else "")


GOOD = b'{"events": [{"status": "processed", "warning_message": ""}]}'
REFUSED = b'{"events": [{"status": "failed", "error_message": "event_time is wrong"}]}'


@pytest.mark.parametrize(
    ("came", "marks", "sentence"),
    [
        (answer(200, GOOD), ["good", "good", "good"], "The connection works."),
        (
            answer(200, REFUSED),
            ["good", "good", "bad"],
            "Pinterest refused the test event: event_time is wrong",
        ),
        (
            answer(400, b'{"code": 1, "message": "bad field"}'),
            ["good", "good", "bad"],
            "Pinterest refused the test event: HTTP 400, code 1: bad field",
        ),
        (
            answer(401, b'{"code": 2, "message": "Authentication failed."}'),
            ["bad", "unknown", "unknown"],
            "Pinterest refused: HTTP 401, code 2: Authentication failed.",
        ),
        (answer(403), ["good", "bad", "unknown"], "Pinterest refused: HTTP 403"),
        (answer(404), ["unknown", "bad", "unknown"], "Pinterest refused: HTTP 404"),
        (
            answer(429),
            ["unknown", "unknown", "unknown"],
            "The connection could not be tested: HTTP 429",
        ),
        (
            answer(None, b"", SendFailure.NOT_SENT),
            ["unknown", "unknown", "unknown"],
            "The connection could not be tested: the host name was not found",
        ),
    ],
    ids=["taken", "event refused", "malformed", "token", "not allowed", "no account", "rate", "away"],
)
def test_a_report_says_of_each_part_whether_it_is_good(came: Answer, marks: list[str], sentence: str) -> None:
    report = connection_check._interpret_answer(came, ACCOUNT)

    assert marks == [finding.mark for finding in report.findings]
    assert sentence == report.sentence
    assert ACCOUNT in report.findings[1].words


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (None, False),
        ("2999-01-01T00:00:00Z", False),
        ("2020-01-01T00:00:00Z", True),
    ],
)
def test_a_token_that_ends_soon_or_has_ended_is_told_with_what_to_do(
    pages: Pages, api: Api, shop: Integration, end: str | None, says: bool
) -> None:
    api.change(f"/v1/admin/integrations/{shop.id}", {"config": {"token_expires_at": end}})
    shown = api.get("/v1/admin/accounts")["data"][0]["credentials"][0]["token_expires_at"]
    assert (shown is None) == (end is None)
    text = pages.get(f"/integrations/{shop.id}")
    assert (
        "The access token expired" in text
        and "Enter a new one on the integration&#39;s page or with PATCH. No event is lost until then."
        in text
    ) == says
