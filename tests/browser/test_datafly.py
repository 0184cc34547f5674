"""Datafly.js in a real browser: what a page tells arrives, and the page never notices."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.driving import (
    ALLOWED,
    GRANT,
    STORAGE,
    hide,
    shop,
    tick,
    tick_until,
    told,
    track,
    visit,
)
from tests.browser.shop_fixtures import KEY, STUB, Answer, Server
from worker.collector import datafly_script

pytestmark = pytest.mark.browser

VERSION = re.findall(r"Datafly\.js ([\d.]+)", datafly_script._SCRIPT.decode())[0]

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


# ---- What an event says


def test_a_load_is_a_page_view_and_says_where(page: Page, server: Server) -> None:
    """The envelope is the collector's; cookies, address and browser are left to the server."""
    visit(page, server.page("/shoes", server.tag) + "?colour=red#top")
    assert tick(page) == 1
    [event] = server.await_events(1)
    assert UUID4.fullmatch(event.pop("messageId"))
    assert ISO_TIME.fullmatch(event.pop("timestamp"))
    assert ISO_TIME.fullmatch(event.pop("sentAt"))
    assert event == {
        "type": "page",
        "context": {
            "page": {
                "url": f"{server.site}/shoes?colour=red#top",
                "path": "/shoes",
                "referrer": "",
                "title": "/shoes",
                "search": "?colour=red",
            },
            "locale": "de-DE",
            "timezone": "Europe/Berlin",
            "library": {"name": "datafly.js", "version": VERSION},
        },
    }
    [post] = server.posts
    assert post.path == "/v1/batch"
    assert post.query == {}
    assert post.headers["authorization"] == f"Bearer {KEY}"
    assert post.headers["content-type"] == "application/json"


def test_the_documents_order_arrives_as_it_was_told(page: Page, server: Server) -> None:
    order = {
        "order_id": "ORD-001",
        "total": 129.99,
        "currency": "USD",
        "products": [{"product_id": "SKU-A", "name": "Widget", "price": 49.99, "quantity": 2}],
    }
    visit(page, shop(server))
    page.evaluate("order => { _df.track('Order Completed', order); order.total = 0; }", order)
    event = told(page, server, 2)[1]
    assert (event["type"], event["event"], event["properties"]) == ("track", "Order Completed", order)


def test_who_the_visitor_is_holds_for_later_events_of_the_page(page: Page, server: Server) -> None:
    visit(page, shop(server))
    page.evaluate("""() => {
        _df.identify({email: 'jane@example.com'});
        _df.track('Before');
        _df.identify(42, {phone: '555'});
        _df.group('g_1', {plan: 'pro'});
        _df.track('After');
    }""")
    _, unknown, before, known, group, after = told(page, server, 6)
    assert (unknown["type"], unknown["traits"], unknown.get("userId")) == (
        "identify",
        {"email": "jane@example.com"},
        None,
    )
    assert before.get("userId") is None
    assert (known["type"], known["traits"], known["userId"]) == ("identify", {"phone": "555"}, "42")
    assert (group["type"], group["groupId"], group["traits"]) == ("group", "g_1", {"plan": "pro"})
    assert after["userId"] == "42"


def test_half_a_character_does_not_cost_the_event(page: Page, server: Server) -> None:
    """Cutting a text short may leave half an emoji, and no store takes that."""
    visit(page, shop(server))
    page.evaluate(r"() => _df.track('Cut', {name: 'Shoes \ud83d', zero: 'a\0b', whole: '👟', n: 10n})")
    event = told(page, server, 2)[1]
    assert event["properties"] == {"name": "Shoes \ufffd", "zero": "a\ufffdb", "whole": "👟", "n": "10"}


def test_the_endpoint_can_stand_in_the_tag(page: Page, server: Server) -> None:
    tag = (
        f'<script src="/d.js" data-endpoint="{server.collector}/signal/" data-pipeline-key="{KEY}"></script>'
    )
    visit(page, server.page("/", tag))
    told(page, server, 1)
    assert server.posts[0].path == "/signal/v1/batch"


# ---- Page views


def test_a_change_of_address_is_a_page_view(page: Page, server: Server) -> None:
    """The history API included, back included; its referrer is the page before."""
    visit(page, shop(server, "/one"))
    page.evaluate("() => { history.pushState({}, '', '/two'); document.title = 'Two'; }")
    page.wait_for_timeout(50)
    page.evaluate("() => history.replaceState({}, '', '/three?x=1')")
    page.wait_for_timeout(50)
    page.go_back()
    views = [event["context"]["page"] for event in told(page, server, 4)]
    assert [view["url"].removeprefix(server.site) for view in views] == ["/one", "/two", "/three?x=1", "/one"]
    assert [view["referrer"].removeprefix(server.site) for view in views] == [
        "",
        "/one",
        "/two",
        "/three?x=1",
    ]
    assert views[1]["title"] == "Two"


@pytest.mark.parametrize(
    ("change", "views"),
    [
        ("history.replaceState({scroll: 1}, '', location.href)", 1),
        ("history.pushState({}, '', '#reviews')", 1),
        ("location.hash = 'reviews'", 1),
        ("location.hash = '#/cart'", 2),
        ("history.pushState({}, '', '/old'); history.replaceState({}, '', '/new')", 2),
        ("history.pushState({}, '', '/new'); _df.page()", 2),
    ],
)
def test_only_another_page_is_another_view(page: Page, server: Server, change: str, views: int) -> None:
    """Same address, a place within the page, or a redirect by the router count once."""
    visit(page, shop(server))
    page.evaluate(f"() => {{ {change} }}")
    page.wait_for_timeout(50)
    track(page, "End")
    told(page, server, views + 1)
    assert server.names == ["page"] * views + ["End"]


def test_what_happens_right_after_a_change_belongs_to_the_new_page(page: Page, server: Server) -> None:
    visit(page, shop(server))
    page.evaluate("() => { history.pushState({}, '', '/next'); _df.track('Seen'); }")
    events = told(page, server, 3)
    assert server.names == ["page", "page", "Seen"]
    assert [event["context"]["page"]["path"] for event in events] == ["/", "/next", "/next"]


def test_a_page_brought_back_as_it_was_left_is_viewed_again(page: Page, server: Server) -> None:
    visit(page, shop(server))
    page.evaluate("() => dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    told(page, server, 2)
    assert server.names == ["page", "page"]


# ---- Batches


def test_events_of_a_second_go_together(page: Page, server: Server) -> None:
    visit(page, shop(server))
    track(page, "A", "B", "C")
    assert tick(page) == 1
    server.await_events(4)
    assert [len(post.events) for post in server.posts] == [4]
    assert server.posts[0].events[0]["sentAt"] == server.posts[0].events[3]["sentAt"]


def test_ten_events_go_at_once_and_no_batch_holds_more(page: Page, server: Server) -> None:
    visit(page, shop(server))
    track(page, *(f"E{number}" for number in range(29)))
    server.await_events(30)
    assert [len(post.events) for post in server.posts] == [10, 10, 10]
    assert server.names == ["page", *(f"E{number}" for number in range(29))]


def test_no_request_is_larger_than_browsers_let_a_leaving_page_send(page: Page, server: Server) -> None:
    visit(page, shop(server))
    page.evaluate("""() => {
        for (let n = 0; n < 4; n++) _df.track('Large', {text: 'é'.repeat(12000)});
    }""")
    tick(page)
    server.await_events(3)
    tick(page)
    server.await_events(5)
    assert max(int(post.headers["content-length"]) for post in server.posts) <= 61_000
    assert server.names == ["page", *["Large"] * 4]


# ---- Leaving


def test_what_waits_leaves_with_the_page_as_a_beacon(page: Page, server: Server) -> None:
    """A beacon has no header: the key is in the address, and the body is text to avoid asking first."""
    other = server.page("/other", "")
    visit(page, shop(server))
    track(page, "Clicked")
    page.goto(other)
    server.await_events(2)
    [post] = server.posts
    assert (post.path, post.query) == ("/v1/batch", {"key": [KEY]})
    assert post.headers["content-type"].startswith("text/plain")
    assert "authorization" not in post.headers
    assert server.names == ["page", "Clicked"]


def test_a_page_that_is_hidden_sends_at_once(page: Page, server: Server) -> None:
    visit(page, shop(server))
    hide(page)
    server.await_events(1)
    assert server.posts[0].is_beacon


def test_a_refused_last_request_waits_for_the_next_one(page: Page, server: Server) -> None:
    """The browser refuses a keepalive request when others already hold 64 KB."""
    visit(page, shop(server))
    page.evaluate(
        "() => { const real = fetch; fetch = () => { fetch = real; return Promise.reject('full'); }; }"
    )
    hide(page)
    tick(page)
    server.await_events(1)
    assert [post.is_beacon for post in server.posts] == [False]


def test_a_browser_without_keepalive_sends_a_beacon_and_repeats_it_when_the_page_is_back(
    page: Page, server: Server
) -> None:
    visit(page, shop(server, head="<script>delete Request.prototype.keepalive;</script>"))
    hide(page)
    server.await_events(1)
    assert server.posts[0].is_beacon
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    tick(page)
    server.await_posts(2)
    assert server.names == ["page"]


def test_what_is_on_its_way_when_the_page_goes_is_sent_again_as_the_same_event(
    page: Page, server: Server
) -> None:
    """Nobody hears the answer: the next page sends it again, and the message id says that it is no other."""
    server.answers = [Answer(503, delay_seconds=0.5)]
    visit(page, shop(server, "/one", GRANT))
    tick(page)
    server.await_posts(1)
    visit(page, shop(server, "/two", GRANT))
    tick(page)
    server.await_events(2)
    assert server.posts[0].events[0]["messageId"] in [event["messageId"] for event in server.events]


# ---- A guest on the page


def test_calls_made_before_it_has_loaded_are_kept(page: Page, server: Server) -> None:
    """In their order; consent that was given by then holds for the first page view as well."""
    early = "<script>_df.consent({advertising: true, analytics: false}); _df.identify('u_1');"
    visit(page, shop(server, head=early + "_df.track('Early', {n: 1});</script>"))
    events = told(page, server, 3)
    assert server.names == ["identify", "Early", "page"]
    assert [event["context"]["consent"] for event in events] == [ALLOWED] * 3
    assert [event["userId"] for event in events] == ["u_1"] * 3


def test_the_stubs_functions_and_queue_work_ever_after(page: Page, server: Server) -> None:
    keep = "<script>window.early = _df.track;</script>"
    visit(page, shop(server, head=keep))
    page.evaluate(
        "() => { early('By function'); _df.q.push(['track', 'By queue']); _df.q.push(['nothing'], 7); }"
    )
    told(page, server, 3)
    assert server.names == ["page", "By function", "By queue"]


def test_a_bare_list_of_early_calls_is_enough(page: Page, server: Server) -> None:
    bare = "<script>_df = {q: [['track', 'Early'], null, ['toString'], [], 'x']}</script>"
    visit(page, server.page("/", bare + server.tag))
    told(page, server, 2)
    assert server.names == ["Early", "page"]


def test_a_second_tag_changes_nothing(page: Page, server: Server) -> None:
    visit(page, server.page("/", server.tag + server.tag.replace("async", "defer")))
    page.wait_for_load_state("load")
    track(page, "Once")
    told(page, server, 2)
    assert server.names == ["page", "Once"]


BROKEN_CALLS = """() => {
    const round = {}; round.round = round;
    const bad = [undefined, null, 0, '', '  ', 'x'.repeat(300), [], round, () => 1, Symbol('x'), 10n, NaN, document,
        {get email() { throw new Error('mine'); }}, {toJSON() { throw new Error('mine'); }}];
    const answers = [];
    for (const name of ['track', 'page', 'identify', 'group', 'consent']) {
        answers.push(_df[name]());
        for (const one of bad) {
            answers.push(_df[name](one));
            for (const other of bad) answers.push(_df[name](one, other));
        }
    }
    return answers.filter(answer => answer !== undefined).length;
}"""


def test_broken_arguments_harm_nothing(page: Page, server: Server) -> None:
    """No call throws or returns anything, nothing louder than debug is said, and the next event arrives."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.type))
    visit(page, shop(server))
    assert page.evaluate(BROKEN_CALLS) == 0
    track(page, "Good")
    tick_until(page, lambda: "Good" in server.names, lambda: f"the good event; there are {server.names}")
    assert set(said) == {"debug"}


def test_a_broken_argument_is_left_out_of_its_event(page: Page, server: Server) -> None:
    visit(page, shop(server))
    page.evaluate("""() => {
        const round = {}; round.round = round;
        _df.track('Order Completed', round);
        _df.identify('x'.repeat(257), {email: 'jane@example.com'});
    }""")
    _, order, known = told(page, server, 3)
    assert (order["event"], "properties" in order) == ("Order Completed", False)
    assert ("userId" in known, known["traits"]) == (False, {"email": "jane@example.com"})


@pytest.mark.parametrize(
    "sabotage",
    [
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied'); }});",
        "Storage.prototype.setItem = () => { throw new Error('full'); };",
        "Object.freeze(history);",
        "crypto.randomUUID = undefined;",
        "let real = fetch; fetch = (...all) => { fetch = real; throw new Error('mine'); };",
        "let real = fetch; fetch = (...all) => { fetch = real; return {}; };",
    ],
)
def test_an_odd_browser_or_page_costs_no_event(page: Page, server: Server, sabotage: str) -> None:
    server.answers = [Answer(503)]
    visit(page, shop(server, head=f"<script>{sabotage}</script>{GRANT}"))
    tick(page)
    tick(page)
    if "fetch" in sabotage:
        tick(page)
    [event] = server.await_events(1)
    assert UUID4.fullmatch(event["messageId"])


def test_without_a_key_calls_do_nothing(page: Page, server: Server) -> None:
    visit(page, server.page("/", f'<script src="{server.collector}/d.js"></script>'))
    track(page, "Lost")
    hide(page)
    assert not page.evaluate("() => clock.isSet()")
    assert server.posts == []


def test_a_collector_that_is_away_leaves_the_page_alone(page: Page, server: Server) -> None:
    gone = '<script async src="http://127.0.0.1:1/d.js" data-pipeline-key="dk_live_x"></script>'
    page.goto(server.page("/", STUB + gone))
    track(page, "Kept in the stub")
    assert page.evaluate("() => _df.q.length") == 1


def test_the_calls_are_those_of_the_documents(page: Page, server: Server) -> None:
    visit(page, shop(server))
    calls: list[Any] = page.evaluate("() => Object.keys(_df).filter(name => typeof _df[name] === 'function')")
    assert sorted(calls) == ["consent", "group", "identify", "page", "reset", "track"]
    assert page.evaluate(STORAGE) == []
