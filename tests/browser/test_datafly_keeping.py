"""Datafly.js keeps what it could not send, sends it again as the same event, and keeps nothing without consent."""

import time
from email.utils import formatdate

import pytest
from playwright.sync_api import Page

from tests.browser.driving import (
    ALLOWED,
    GRANT,
    KEPT,
    STORAGE,
    await_script,
    hide,
    shop,
    tick,
    told,
    track,
    visit,
)
from tests.browser.shop_fixtures import STUB, Answer, Server

pytestmark = pytest.mark.browser


# ---- Failing and coming back


# Chromium itself sends again at once what a connection took that was open before.
@pytest.mark.parametrize("answers", [[Answer(503)], [Answer(404)], [Answer(cut=True), Answer(cut=True)]])
def test_a_retry_is_the_same_event(page: Page, server: Server, answers: list[Answer]) -> None:
    server.answers = answers
    visit(page, shop(server))
    assert [tick(page), tick(page)] == [1, 1]
    server.await_events(1)
    first, last = server.posts[0].events[0], server.posts[-1].events[0]
    assert first.pop("sentAt") < last.pop("sentAt")
    assert first == last


def waits(page: Page, server: Server, answers: list[Answer]) -> list[float]:
    """Return the seconds that the script waits before each retry of an event."""
    server.answers = list(answers)
    visit(page, shop(server))
    tick(page)
    waited = [tick(page) for _ in answers]
    server.await_events(1)
    return waited


def test_waits_double_up_to_five_minutes_and_half_of_each_is_chance(page: Page, server: Server) -> None:
    """None is shorter than the second that events are gathered for."""
    waited = waits(page, server, [Answer(500)] * 12)
    longest = [min(2**attempt, 300) for attempt in range(12)]
    assert all(max(1, most / 2) <= wait <= most for wait, most in zip(waited, longest, strict=True)), waited
    assert len({wait / most for wait, most in zip(waited, longest, strict=True)}) > 6


@pytest.mark.parametrize(
    ("asked", "least", "most"), [("3", 3.5, 4), ("a while", 1, 1), ("-5", 1, 1), ("99999999", 3_600, 3_601)]
)
def test_the_wait_that_the_collector_asks_for_is_kept(
    page: Page, server: Server, asked: str, least: float, most: float
) -> None:
    [waited] = waits(page, server, [Answer(503, retry_after=asked)])
    assert least <= waited <= most


def test_a_wait_until_a_date_is_kept(page: Page, server: Server) -> None:
    date = formatdate(time.time() + 600, usegmt=True)
    [waited] = waits(page, server, [Answer(503, retry_after=date)])
    assert 500 < waited <= 601


def test_nothing_but_its_end_cuts_the_asked_wait_short(page: Page, server: Server) -> None:
    """Neither a full batch nor the network's return, of which the collector knows nothing."""
    server.answers = [Answer(503, retry_after="10")]
    visit(page, shop(server))
    tick(page)
    page.wait_for_function("() => clock.isSet()")
    track(page, *(f"E{number}" for number in range(9)))
    page.evaluate("() => dispatchEvent(new Event('online'))")
    assert tick(page) > 10
    server.await_events(10)
    assert [len(post.events) for post in server.posts] == [1, 10]


def test_a_collector_that_never_answers_is_given_up_and_asked_again(page: Page, server: Server) -> None:
    server.answers = [Answer(delay_seconds=2.0, cut=True)]
    visit(page, shop(server))
    tick(page)
    server.await_posts(1)
    page.evaluate("() => clock.giveUp()")
    tick(page)
    server.await_events(1)


@pytest.mark.parametrize("status", [400, 413, 415])
def test_what_is_refused_for_good_is_not_sent_again(page: Page, server: Server, status: int) -> None:
    server.answers = [Answer(status)]
    visit(page, shop(server, head=GRANT))
    tick(page)
    server.await_posts(1)
    track(page, "Next")
    tick(page)
    server.await_events(1)
    assert server.names == ["Next"]
    assert page.evaluate(STORAGE) == []


def test_one_bad_event_costs_no_good_one(page: Page, server: Server) -> None:
    """A refused batch goes again event by event."""
    server.answers = [Answer(400), Answer(400)]
    visit(page, shop(server))
    track(page, "A", "B")
    tick(page)
    server.await_events(2)
    assert [len(post.events) for post in server.posts] == [3, 1, 1, 1]
    assert server.names == ["A", "B"]


def test_events_of_a_time_without_a_network_arrive_after_it(page: Page, server: Server) -> None:
    """Kept with consent, also over a change of page; being back is noticed without waiting."""
    visit(page, shop(server, head=GRANT))
    tick(page)
    server.await_events(1)
    page.context.set_offline(True)
    track(page, "A", "B")
    tick(page)
    page.wait_for_function(f"() => ({KEPT})().length === 2")
    kept = page.evaluate("() => JSON.parse(localStorage._df_queue).map(e => [e.messageId, e.timestamp])")
    page.context.set_offline(False)
    events = server.await_events(3)
    assert [[event["messageId"], event["timestamp"]] for event in events[1:]] == kept
    page.wait_for_function(f"() => ({KEPT})().length === 0")


def test_the_next_page_sends_what_the_last_one_could_not(page: Page, server: Server) -> None:
    server.answers = [Answer(503, retry_after="600")]
    visit(page, shop(server, "/one", GRANT))
    tick(page)
    page.wait_for_function(f"() => ({KEPT})().length === 1")
    track(page, "Clicked")
    visit(page, shop(server, "/two", GRANT))
    tick(page)
    events = server.await_events(3)
    # The collector asked for a minute of peace, so that no beacon went out either.
    assert not any(post.is_beacon for post in server.posts)
    assert [event["context"]["page"]["path"] for event in events] == ["/one", "/one", "/two"]
    assert server.names == ["page", "Clicked", "page"]
    page.wait_for_function(f"() => ({KEPT})().length === 0")


def test_what_is_kept_is_bounded_by_number(page: Page, server: Server) -> None:
    """The oldest go first."""
    server.answers = [Answer(503, retry_after="600")]
    visit(page, shop(server, head=GRANT))
    tick(page)
    page.wait_for_function(f"() => ({KEPT})().length === 1")
    track(page, *(f"E{number}" for number in range(1_005)))
    hide(page)
    assert page.evaluate(KEPT) == [f"E{number}" for number in range(5, 1_005)]


def test_what_is_kept_is_bounded_by_size(page: Page, server: Server) -> None:
    server.answers = [Answer(503, retry_after="600")]
    visit(page, shop(server, head=GRANT))
    tick(page)
    page.wait_for_function(f"() => ({KEPT})().length === 1")
    page.evaluate("() => { for (let n = 0; n < 25; n++) _df.track('E' + n, {text: 'x'.repeat(50000)}); }")
    hide(page)
    kept = page.evaluate(KEPT)
    assert (kept[-1], "E0" in kept) == ("E24", False)
    assert page.evaluate("() => localStorage._df_queue.length") <= 1_001_000


def test_what_is_too_old_or_was_never_an_event_is_left_behind(page: Page, server: Server) -> None:
    url = shop(server)
    visit(page, url)
    told(page, server, 1)
    page.evaluate("""() => {
        const event = (name, days) => ({type: 'track', event: name, messageId: name, context: {},
            timestamp: new Date(Date.now() - days * 864e5).toISOString()});
        localStorage._df_queue = JSON.stringify(
            [event('Week', 7), event('Day', 1), null, 7, {messageId: 'x'}]);
        _df.consent({advertising: true});
    }""")
    told(page, server, 2)
    assert server.names == ["page", "Day"]
    page.evaluate("() => { localStorage._df_queue = '{'; }")
    track(page, "End")
    told(page, server, 3)


# ---- Consent


@pytest.mark.parametrize(
    "said", [None, "{advertising: false}", "{analytics: true}", "{categories: {advertising: false}}"]
)
def test_nothing_is_kept_before_consent_allows_it(page: Page, server: Server, said: str | None) -> None:
    server.answers = [Answer(503)]
    head = f"<script>_df.consent({said})</script>" if said else ""
    visit(page, shop(server, head=head) + "?epik=dj0yJnU9")
    page.evaluate("() => _df.identify('u_1', {email: 'jane@example.com'})")
    tick(page)
    page.wait_for_function("() => clock.isSet()")
    hide(page)
    assert page.evaluate(STORAGE) == []
    assert page.context.cookies() == []


@pytest.mark.parametrize(
    "said",
    [
        "{advertising: true}",
        "{marketing: 'granted'}",
        "{categories: {advertising: true}, canonical: {marketing: true}}",
    ],
)
def test_consent_to_advertising_lets_the_queue_be_kept(page: Page, server: Server, said: str) -> None:
    server.answers = [Answer(503)]
    visit(page, shop(server, head=f"<script>_df.consent({said})</script>"))
    tick(page)
    page.wait_for_function(f"() => ({KEPT})().length === 1")
    assert page.evaluate(STORAGE) == ["_df_queue"]


def test_withdrawn_consent_removes_what_was_kept(page: Page, server: Server) -> None:
    server.answers = [Answer(503, retry_after="600")]
    visit(page, shop(server, head=GRANT) + "?epik=dj0yJnU9")
    tick(page)
    page.wait_for_function(f"() => ({KEPT})().length === 1")
    assert page.evaluate(STORAGE) == ["_df_epik", "_df_queue"]
    page.evaluate("() => _df.consent({advertising: false})")
    assert page.evaluate(STORAGE) == []


def test_consent_goes_along_with_later_events(page: Page, server: Server) -> None:
    visit(page, shop(server))
    told(page, server, 1)
    page.evaluate("""() => {
        const said = {advertising: true, analytics: false};
        _df.consent(said);
        said.advertising = false;
        _df.track('After');
        _df.consent({advertising: false});
        _df.track('Withdrawn');
    }""")
    events = told(page, server, 3)
    consents = [event["context"].get("consent") for event in events]
    assert consents == [None, ALLOWED, {"advertising": False}]


def test_what_still_waits_without_consent_learns_of_it(page: Page, server: Server) -> None:
    """Else every first page view would be dropped whose consent tool starts a moment later."""
    visit(page, shop(server))
    page.evaluate("() => { _df.consent({advertising: true, analytics: false}); }")
    [event] = told(page, server, 1)
    assert event["context"]["consent"] == ALLOWED


# ---- The click id


def test_the_landing_pages_epik_goes_along_with_later_pages(page: Page, server: Server) -> None:
    visit(page, shop(server, "/landing", GRANT) + "?utm=x&epik=dj0y%2BJnU9")
    visit(page, shop(server, "/next", GRANT) + "?q=1")
    page.evaluate("() => history.pushState({}, '', '/last')")
    urls = [event["context"]["page"]["url"].removeprefix(server.site) for event in told(page, server, 3)]
    assert urls == [
        "/landing?utm=x&epik=dj0y%2BJnU9",
        "/next?q=1&epik=dj0y%2BJnU9",
        "/last?epik=dj0y%2BJnU9",
    ]


def test_a_fresher_epik_takes_the_place_of_the_older(page: Page, server: Server) -> None:
    url = shop(server, "/shop", GRANT)
    for query in ("?epik=first", "?epik=second", ""):
        visit(page, url + query)
    urls = [event["context"]["page"]["url"] for event in told(page, server, 3)]
    assert [url.partition("epik=")[2] for url in urls] == ["first", "second", "second"]


def test_without_consent_the_epik_stays_on_its_page(page: Page, server: Server) -> None:
    visit(page, shop(server, "/landing") + "?epik=dj0y")
    visit(page, shop(server, "/next"))
    urls = [event["context"]["page"]["url"].removeprefix(server.site) for event in told(page, server, 2)]
    assert urls == ["/landing?epik=dj0y", "/next"]


def test_consent_on_the_second_page_still_finds_the_landing_pages_epik(page: Page, server: Server) -> None:
    shop(server, "/next", GRANT)
    visit(page, server.page("/landing", STUB + server.tag + "<a href=/next>next</a>") + "?epik=dj0y")
    page.click("a")
    page.wait_for_url("**/next")
    await_script(page)
    url = told(page, server, 2)[1]["context"]["page"]["url"]
    assert url.removeprefix(server.site) == "/next?epik=dj0y"
