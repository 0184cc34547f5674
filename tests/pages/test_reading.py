"""The pages that only tell: the audit log, explanations, match quality."""

import json
import time
from collections import Counter

import pytest

from tests.pages.conftest import Pages
from worker.ledger.database import Ledger
from worker.ledger.reports import tallies
from worker.ledger.reports.tallies import QUALITY, Entry
from worker.ledger.setup import audit_log
from worker.ledger.setup.integrations import Integration
from worker.pages.audit import ENTRIES_A_PAGE
from worker.pages.explain import EXAMPLE


def test_the_audit_log_goes_back_page_by_page(pages: Pages, ledger: Ledger) -> None:
    with ledger.write() as connection:
        for number in range(ENTRIES_A_PAGE + 5):
            changes = {"name": ["old", f"new {number}"], "on": [None, True]}
            audit_log.append_audit_entry(
                connection, float(number), "Anna", "source.change", f"src_{number}", changes
            )
    first = pages.get("/audit")
    (older,) = [part.partition('"')[0] for part in first.split('href="/audit?before=')[1:]]

    assert f"src_{ENTRIES_A_PAGE + 4}" in first
    assert "old → new" in first
    assert "none → true" in first
    assert "src_0<" in pages.get(f"/audit?before={older}")


@pytest.mark.parametrize("source_id", ["", "src_shop"])
def test_the_example_is_explained_line_by_line(viewer: Pages, shop: Integration, source_id: str) -> None:
    fields = {"event": EXAMPLE, "source_id": source_id, "channel": "browser"}
    page = viewer.send("/explain", fields, page="/explain").text

    assert "Event 1: Order Completed" in page
    assert "would be sent</span>" in page
    assert "&#34;value&#34;: &#34;129.99&#34;" in page


def test_an_event_without_a_type_is_a_track_call(viewer: Pages) -> None:
    event = json.dumps({"event": "Signed Up", "context": {"consent": {"advertising": True}}})
    page = viewer.send("/explain", {"event": event, "channel": "browser"}, page="/explain").text
    assert "Event 1: Signed Up" in page


@pytest.mark.parametrize(
    "event",
    ["", "{", "[]", '{"type": "nonsense"}', json.dumps({"batch": [{"type": "page"}] * 101}), "[" * 9_999],
)
def test_what_is_no_event_is_said_in_a_sentence(pages: Pages, event: str) -> None:
    answer = pages.send("/explain", {"event": event, "channel": "browser"})

    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


def test_match_quality_shows_shares_and_what_to_improve(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    counts = {f"{QUALITY}em,ip_ua": 10, f"{QUALITY}ip_ua,late": 30, f"{QUALITY}invalid=missing_value": 2}
    with ledger.write() as connection:
        entries = {Entry("src_shop", shop.number, "checkout", word): n for word, n in counts.items()}
        tallies.append_tallies(connection, Counter(entries), time.time())
    page = pages.get("/quality")

    assert "42 events in 7 days" in page
    assert '<td class="number" data-of="Share">25 %</td>' in page
    assert '<td class="number" data-of="Share">100 %</td>' in page
    assert "Only 25 % of these events carry an e-mail address." in page
    assert "are orders without a value" in page
    assert "75 % of these events came in over an hour late" in page


def test_identifiers_are_called_as_the_field_mapping_sends_them(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    with ledger.write() as connection:
        entries = {Entry("src_shop", shop.number, "checkout", f"{QUALITY}click_id"): 10}
        tallies.append_tallies(connection, Counter(entries), time.time())
    with_signals = pages.get("/quality")
    pages.send(
        f"/integrations/{shop.id}/change",
        {"name": "P", "ad_account_id": shop.ad_account_id, "field_mapping": "pinterest"},
    )
    with_pinterests = pages.get("/quality")

    assert "Browser (_pin_unauth), as click_id" in with_signals
    assert "Click on an ad (epik), as partner_id" in with_signals
    assert "Click on an ad (epik), as click_id" in with_pinterests
    assert "partner_id" not in with_pinterests


def test_without_events_there_is_nothing_to_match(pages: Pages) -> None:
    assert "No events in the last 30 days." in pages.get("/quality?span=30d")


@pytest.mark.parametrize("path", ["/search?q=%00", "/events?text=a%00", "/failed?event_name=%00"])
def test_a_character_that_cannot_be_stored_is_refused_with_a_sentence(pages: Pages, path: str) -> None:
    answer = pages.client.get(path)
    assert answer.status_code == 422
    assert "The character U+0000 is not allowed." in answer.text
