"""Looking at what failed, retrying and discarding it."""

import json
import time
from unittest.mock import patch

from tests.pages.conftest import ACCOUNT, Pages, fail, write
from worker.ledger.database import Ledger
from worker.ledger.delivery import failures, find_deliveries
from worker.ledger.delivery.failures import FailureFilter
from worker.ledger.intake import inbox
from worker.ledger.intake.inbox import Accepted
from worker.ledger.setup import audit_log
from worker.ledger.setup.integrations import Integration
from worker.pages.routes import failed as page_of_failed

DAY = 86_400


def left(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return [one.event_id for one in failures.failed_after(connection, FailureFilter(), 100)]


def stands(ledger: Ledger) -> dict[str, str]:
    with ledger.read() as connection:
        return {one.event_id: one.state for one in find_deliveries.find_after(connection, 0, 100)}


def ids(ledger: Ledger, *event_ids: str) -> list[str]:
    with ledger.read() as connection:
        found = failures.failed_after(connection, FailureFilter(), 100)
    return [str(one.id) for one in found if one.event_id in event_ids]


def test_nothing_failed_is_good_news(pages: Pages) -> None:
    assert "Nothing has failed." in pages.get("/failed")


def test_reasons_come_in_groups_that_lead_to_the_single_ones(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "e1", "e2")
    fail(ledger, shop, "e3", event_name="lead", reason_class="refused", reason="Pinterest said no")
    page = pages.get("/failed")

    assert "Pinterest refused the event" in page
    assert "Value is missing" in page
    assert "Retry all 3…" in page
    single = pages.get(f"/failed?ad_account_id={ACCOUNT}&reason_class=refused&event_name=lead")
    assert "Retry all 1…" in single
    assert "<code>e3</code>" in single
    assert "<code>e1</code>" not in single


def test_what_the_shop_sends_is_text_and_no_markup(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "<script>alert(1)</script>", source_name="<b>x</b>", reason="<i>why</i>")
    page = pages.get("/failed?reason_class=missing_value")

    assert "<script>alert" not in page
    assert "<b>x</b>" not in page
    assert "<i>why</i>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_numbers_come_before_anything_is_done(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    now = int(time.time())
    fail(ledger, shop, "fresh")
    fail(ledger, shop, "late", event_time=now - 2 * 3_600)
    fail(ledger, shop, "stale", event_time=now - 8 * DAY)
    fail(ledger, shop, "empty", payload=None)
    page = pages.send("/failed/review", {"action": "retry", "everything": "yes"}).text

    assert "<b>2</b> would be sent again" in page
    assert "1 event happened over an hour ago" in page
    assert "<b>1</b> would be skipped: older than 7 days: Pinterest refuses it, unless forced." in page
    assert "<b>1</b> would be skipped: nothing to send: it failed before it was mapped." in page
    assert len(left(ledger)) == 4
    forced = pages.send("/failed/review", {"action": "retry", "everything": "yes", "force": "yes"}).text
    assert "<b>3</b> would be sent again" in forced


def test_ticked_ones_are_retried_and_pressing_twice_sends_once(
    editor: Pages, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "e1", "e2", "e3")
    data = {"ids": ids(ledger, "e1", "e3")}
    first = editor.send("/failed/retry", data).text
    second = editor.send("/failed/retry", data).text

    assert "<b>2 deliveries</b> are pending again" in first
    assert "<b>0 deliveries</b> are pending again" in second
    assert left(ledger) == ["e2"]
    with ledger.read() as connection:
        (entry,) = audit_log.newest_audit_entries(connection, 1)
    assert entry["actor"].startswith("an editor (tok_")
    assert entry["action"] == "failed.retry"


def test_a_whole_group_is_retried_and_others_are_left(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "e1", "e2")
    fail(ledger, shop, "other", reason_class="refused")
    pages.send("/failed/retry", {"everything": "yes", "reason_class": "missing_value"})

    assert left(ledger) == ["other"]


def test_without_a_tick_nothing_happens(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1")
    answer = pages.send("/failed/retry")

    assert answer.status_code == 422
    assert "Select at least one delivery." in answer.text
    assert left(ledger) == ["e1"]


def test_an_event_that_was_sent_meanwhile_is_not_sent_twice(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "e1")
    write(ledger, shop, "e1")
    page = pages.send("/failed/retry", {"everything": "yes"}).text

    assert "<b>0 deliveries</b> are pending again" in page
    assert "1 skipped." in page


def test_discarding_asks_why_and_keeps_the_answer(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", "e2")
    asked = pages.send("/failed/review", {"action": "discard", "ids": ids(ledger, "e1")}).text
    assert "1 delivery will be discarded and cannot be sent again." in asked
    pages.send("/failed/discard", {"ids": ids(ledger, "e1"), "reason": "A test order"})

    assert stands(ledger) == {"e1": "discarded", "e2": "failed"}
    with ledger.read() as connection:
        assert audit_log.newest_audit_entries(connection, 1)[0]["changes"]["reason"] == "A test order"


def test_a_long_piece_of_work_goes_on_page_by_page(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", "e2", "e3")
    with patch.object(page_of_failed, "_MOST_A_REQUEST", 2):
        page = pages.send("/failed/retry", {"everything": "yes"}).text
        assert '<progress id="bar" value="2" max="3">' in page
        fields = {"everything": "yes", "done": "2", "after": ids_of(page)}
        page = pages.send("/failed/retry", fields).text

    assert "<b>3 deliveries</b> are pending again" in page
    assert left(ledger) == []


def ids_of(page: str) -> str:
    return page.partition('name="after" value="')[2].partition('"')[0]


def test_the_export_has_a_line_for_each_and_no_payload(
    viewer: Pages, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "e1", "e2")
    answer = viewer.client.get("/failed/export?reason_class=missing_value")
    lines = [json.loads(line) for line in answer.text.splitlines()]

    assert answer.mimetype == "application/x-ndjson"
    assert [line["event_id"] for line in lines] == ["e1", "e2"]
    assert "payload" not in lines[0]


def test_viewers_see_no_buttons(viewer: Pages, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1")

    assert "Retry" not in viewer.get("/failed?reason_class=missing_value")


def test_what_was_set_aside_before_it_was_mapped_goes_on_by_a_click(pages: Pages, ledger: Ledger) -> None:
    row = Accepted("src_shop", None, None, False, time.time(), b"sealed")
    with ledger.write() as connection:
        (number,) = inbox.accept_events(connection, [row], time.time())
        inbox.park_event(connection, number, "its key is missing")
    assert "1 event since" in pages.get("/failed")
    page = pages.follow(pages.send("/failed/parked"))

    assert "Events that were set aside are processed again" in page
    assert "its key is missing" not in page


def test_a_group_is_resolved_and_opened_again_by_a_click_and_shows_its_trend(
    pages: Pages, viewer: Pages, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "e1", "e2")
    page = pages.get("/failed")
    assert f'aria-label="Still failed, by day in UTC, today last: {"0, " * 13}2"' in page
    assert '<span class="tag bad">open</span>' in page
    key = {"ad_account_id": ACCOUNT, "event_name": "checkout", "reason_class": "missing_value"}
    page = pages.follow(pages.send("/failed/mark", key | {"state": "resolved"}))

    assert '<span class="tag ">resolved</span>' in page
    assert "Open again" in page
    assert "Open again" not in viewer.get("/failed")
    assert viewer.send("/failed/mark", key | {"state": "ignored"}).status_code == 403
    fail(ledger, shop, "e3")
    assert '<span class="tag bad">open</span>' in pages.get("/failed")


def test_the_preview_of_a_retry_says_how_many_it_will_not_deliver(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "e1", reason_class="no_answer")
    fail(ledger, shop, "e2", "e3", reason_class="refused")
    page = pages.send("/failed/review", {"action": "retry", "everything": "yes"}).text

    assert "2 of 3 will not be delivered by a retry alone." in page
    assert (
        "<b>2</b> of them will not be delivered by a retry alone: the same content was refused before" in page
    )
