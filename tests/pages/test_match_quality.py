"""The page leads with the checkouts and the next thing to do, then shows Pinterest's own score next to our shares."""

import re
import time
from collections import Counter
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.pages.conftest import ACCOUNT, Pages
from worker.ledger.database import Ledger
from worker.ledger.reports import tallies
from worker.ledger.reports.tallies import QUALITY, Entry
from worker.ledger.setup import pinterest_connections
from worker.ledger.setup.integrations import Integration

DAY = 86_400
TODAY = int(time.time() // DAY)
FEW = ["Low e-mail coverage", "Few checkout events have a hashed email."]


def count(
    ledger: Ledger, shop: Integration, days_ago: float = 0, name: str = "checkout", **words: int
) -> None:
    with ledger.write() as connection:
        entries = {
            Entry("src_shop", shop.number, name, f"{QUALITY}{word.replace('__', ',')}"): n
            for word, n in words.items()
        }
        tallies.append_tallies(connection, Counter(entries), time.time() - days_ago * DAY)


def score(status: str, source: str = "CONVERSIONS_API", **components: Any) -> dict[str, Any]:
    return {
        "source_platform": "WEB",
        "ingestion_source": source,
        "overall_status": status,
        "components": components,
    }


def coverage(percent: float, overlap: float | None = None, *issues: list[str]) -> dict[str, Any]:
    return {"checkout": {"coverage": percent, "overlap": overlap, "issues": list(issues)}}


@pytest.fixture
def connected(ledger: Ledger, shop: Integration) -> Integration:
    """Read the shop's ad account by a sign-in."""
    tokens = {"access_token": "pina_x", "refresh_token": "pinr_x", "scope": "ads:read"}
    ledger.vault.prepare()
    with ledger.write() as connection:
        login = pinterest_connections.insert_login(
            connection, ledger.vault, "Anna", 1.0, access_seconds=1e12, refresh_seconds=1e12, **tokens
        )
        facts = {"country": "DE", "currency": "EUR", "time_zone": "Europe/Berlin"}
        pinterest_connections.attach_reading(connection, shop.ad_account, login, 0.0, name="My shop", **facts)
    return shop


def store(ledger: Ledger, shop: Integration, day: int, *scores: dict[str, Any]) -> None:
    with ledger.write() as connection:
        pinterest_connections.store_scores(
            connection, shop.ad_account, {"14d": scores, "1d": scores[:1]}, day, time.time()
        )


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).replace("&#39;", "'").split())


def test_the_summary_has_each_share_of_checkouts_its_change_and_one_thing_to_do(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    count(ledger, shop, ip_ua=60, em__ip_ua=40)
    count(ledger, shop, days_ago=10, ip_ua=90, em__ip_ua=10)
    count(ledger, shop, name="page_visit", ip_ua=500)
    text = text_of(pages.get("/quality"))
    assert f"Checkouts of Pinterest ad account {ACCOUNT}, 100 checkouts in 7 days" in text
    assert "Do this next. checkout: Only 40 % of these events carry an e-mail address." in text
    assert "E-mail, hashed 40 % +30" in text
    assert "IP address and user agent 100 % +0" in text
    assert text.index("Every event checkout") < text.index("page_visit Pinterest, 500 events")


def test_without_checkouts_before_there_is_no_change_to_show(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    count(ledger, shop, em__ip_ua=10)
    assert "E-mail, hashed 100 % \N{EN DASH}" in text_of(pages.get("/quality"))


def test_without_a_connection_the_page_says_where_to_connect(pages: Pages) -> None:
    assert "Connect an integration with Pinterest to see its Event Quality Score here" in text_of(
        pages.get("/quality")
    )


def test_the_score_is_shown_with_issues_what_to_change_and_our_own_share(
    pages: Pages, api: Api, ledger: Ledger, connected: Integration
) -> None:
    count(ledger, connected, ip_ua=60, em__ip_ua=40)
    store(ledger, connected, TODAY - 9, score("GOOD"))
    store(
        ledger,
        connected,
        TODAY,
        score(
            "FAIR",
            hashed_email=coverage(31, None, FEW),
            external_event_id=coverage(100, 64),
            a_new_one=coverage(7),
        ),
        score("GOOD", "TAG", hashed_email=coverage(72, None, FEW)),
    )
    text = text_of(pages.get("/quality"))
    assert "Event Quality Score of My shop" in text
    assert "CONVERSIONS_API on WEB: FAIR Last day: FAIR." in text
    assert f"GOOD until FAIR on {time.strftime('%Y-%m-%d', time.gmtime(TODAY * DAY))}" in text
    issue = "checkout: Low e-mail coverage. Few checkout events have a hashed email."
    assert f"{issue} What to change: Call identify with the email trait" in text
    assert "hashed_email checkout 31 % 40 %" in text
    assert "external_event_id checkout 100 % 64 %" in text
    assert "a_new_one checkout 7 %" in text
    # The tag's events are not ours: no share of ours, nothing to change here.
    assert "These events come from the Pinterest tag in the pages, not from here." in text
    assert f"{issue} Coverage by component and event" in text
    assert "hashed_email checkout 72 % Pinterest counts the events that it received" in text

    (account,) = api.get("/v1/admin/quality/scores")["data"]
    assert (account["ad_account_id"], account["name"], account["problem"]) == (
        connected.ad_account_id,
        "My shop",
        None,
    )
    ours, tags = account["scores"]
    days = [time.strftime("%Y-%m-%d", time.gmtime((TODAY - ago) * DAY)) for ago in (9, 0)]
    assert ours["by_day"] == dict(zip(days, ("GOOD", "FAIR"), strict=True))
    assert (ours["statuses"], tags["statuses"]) == ({"14d": "FAIR", "1d": "FAIR"}, {"14d": "GOOD"})
    (email,) = (one for one in ours["details"] if one["component"] == "hashed_email")
    assert (email["coverage"], email["own"], email["issues"]) == (31, 0.4, [FEW])
    assert email["advice"].startswith("Call identify")


def test_a_score_that_cannot_be_read_is_said_next_to_the_last_one(
    pages: Pages, ledger: Ledger, connected: Integration
) -> None:
    assert "No score yet." in text_of(pages.get("/quality"))
    store(ledger, connected, TODAY - 2, score("GOOD"))
    with ledger.write() as connection:
        (reading,) = pinterest_connections.readings(connection)
        pinterest_connections.postpone_reading(
            connection, reading, 1.0, "Pinterest answered HTTP 403.", of_login=False
        )
    text = text_of(pages.get("/quality"))
    assert "The score could not be read: Pinterest answered HTTP 403. Below is the last one." in text
    assert "CONVERSIONS_API on WEB: GOOD" in text


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
    assert "75 % of these events were received over an hour late" in page


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
