"""What arrives when the collector or the browser fails: the table in docs/reliability.md."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.driving import GRANT, KEPT, STORAGE, hide, shop, tick, tick_until, track, visit
from tests.browser.shop_fixtures import Answer, Server

pytestmark = pytest.mark.browser

FAULTS = {
    "answers 503": [Answer(503)] * 2,
    "closes the connection": [Answer(cut=True)] * 4,
    "answers after the page is gone": [Answer(503, delay_seconds=0.5)] * 2,
}
NO_STORAGE = "<script>Storage.prototype.setItem = () => { throw new Error('full'); };</script>"
# How the visitor's browser stores, and whether the visitor opens another page of the shop.
OUTCOMES = {
    ("consent given", "stays"): "arrives",
    ("consent given", "is left for the next page"): "arrives from the next page",
    ("consent given, storage full", "stays"): "arrives",
    ("no consent", "stays"): "arrives",
    ("no consent", "is hidden"): "arrives when the page is shown again",
}
HEADS = {"consent given": GRANT, "consent given, storage full": NO_STORAGE + GRANT, "no consent": ""}
TABLE = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("browser_state", "page_state"), OUTCOMES)
def test_an_order_survives_a_fault_of_the_collector(
    page: Page, server: Server, fault: str, browser_state: str, page_state: str
) -> None:
    head = HEADS[browser_state]
    visit(page, shop(server, "/thanks", head))
    tick(page)
    server.await_events(1)
    server.answers = list(FAULTS[fault])
    track(page, "Order Completed")
    if page_state == "stays":
        tick_until(page, lambda: len(server.posts) > 1, lambda: "the order's request")
    elif page_state == "is hidden":
        hide(page)
    else:
        visit(page, shop(server, "/next", head))
    server.await_posts(2)
    for _ in range(4):
        if "Order Completed" in server.names:
            break
        tick(page)
        page.wait_for_timeout(600 if "gone" in fault else 100)
    assert server.names.count("Order Completed") == 1
    ids = {event["messageId"] for post in server.posts for event in post.events if "event" in event}
    assert len(ids) == 1


def test_the_documents_table_is_this_one() -> None:
    """Each cell of the table is one of the tests above."""
    text = TABLE.read_text("utf-8")
    rows = [
        f"| {browser_state} | {page_state} | {outcome} |"
        for (browser_state, page_state), outcome in OUTCOMES.items()
    ]
    assert [row for row in rows if row not in text] == []
    assert [fault for fault in FAULTS if fault not in text] == []


def test_during_a_back_off_a_left_page_still_sends_what_cannot_be_stored(page: Page, server: Server) -> None:
    server.answers = [Answer(503, retry_after="600")]
    visit(page, shop(server, head=NO_STORAGE + GRANT))
    tick(page)
    page.wait_for_function("() => clock.isSet()")
    track(page, "Clicked")
    hide(page)
    server.await_events(2)
    assert server.posts[-1].is_beacon


def test_a_retry_under_way_goes_again_with_the_page(page: Page, server: Server) -> None:
    """A retry is an ordinary request, which ends with the page."""
    server.answers = [Answer(503), Answer(503, delay_seconds=2)]
    visit(page, shop(server))
    tick(page)
    tick(page)
    server.await_posts(2)
    hide(page)
    server.await_events(1)
    assert server.posts[-1].is_beacon


def test_a_refused_key_stops_everything_and_is_reported_once(page: Page, server: Server) -> None:
    warnings: list[str] = []
    page.on("console", lambda message: warnings.append(message.text) if message.type == "warning" else None)
    server.answers = [Answer(401)] * 5
    visit(page, shop(server, head=GRANT))
    tick(page)
    server.await_posts(1)
    page.wait_for_timeout(100)
    track(page, "Next")
    hide(page)
    page.wait_for_timeout(200)
    assert len(server.posts) == 1
    assert len([text for text in warnings if "pipeline key" in text]) == 1
    # A page with a valid key sends what waits.
    assert page.evaluate(KEPT) == ["page"]
    server.answers = []
    visit(page, shop(server, "/next", GRANT))
    tick(page)
    server.await_events(2)


def test_nothing_is_stored_after_an_answer(page: Page, server: Server) -> None:
    visit(page, shop(server, head=GRANT))
    hide(page)
    server.await_events(1)
    page.wait_for_function(f"() => ({KEPT})().length === 0")
    assert page.evaluate(STORAGE) == []


# ---- Sizes

PRODUCT = "{product_id: 'SKU-' + n, name: 'Shoe ' + n, price: 10, quantity: 2, description: 'x'.repeat(500)}"


@pytest.mark.parametrize("lines", [1, 120, 400, 3_000, 9_000])
@pytest.mark.parametrize("leaves", [False, True])
def test_an_order_of_any_size_arrives(page: Page, server: Server, lines: int, leaves: bool) -> None:
    """Details of the products go first; the value and the number of items are those of the whole order."""
    visit(page, shop(server))
    tick(page)
    server.await_events(1)
    page.evaluate(
        f"""lines => _df.track('Order Completed', {{order_id: 'A-1', currency: 'EUR',
            products: Array.from({{length: lines}}, (_, n) => ({PRODUCT}))}})""",
        lines,
    )
    if leaves:
        hide(page)
    else:
        tick(page)
    event = server.await_events(2)[1]
    properties = event["properties"]
    first = properties["products"][0]
    assert (first["product_id"], first["price"], first["quantity"]) == ("SKU-0", 10, 2)
    if len(properties["products"]) < lines:
        assert (properties["value"], properties["num_items"]) == (10 * 2 * lines, 2 * lines)
    largest = max(int(post.headers["content-length"]) for post in server.posts)
    assert largest <= (65_536 if leaves else 512 * 1024)


# ---- The page's address


CLEAN = "<script>history.replaceState({}, '', location.pathname)</script>"


def test_a_page_that_cleans_its_address_before_the_script_loads_keeps_its_click_id(
    page: Page, server: Server
) -> None:
    visit(page, server.page("/landing", CLEAN + server.tag) + "?utm=x&epik=dj0y")
    track(page, "Seen")
    hide(page)
    view, seen = server.await_events(2)
    assert view["context"]["page"]["url"] == f"{server.site}/landing?utm=x&epik=dj0y"
    assert view["context"]["page"]["search"] == "?utm=x&epik=dj0y"
    assert seen["context"]["page"]["url"] == f"{server.site}/landing?epik=dj0y"


def test_a_router_that_moved_on_before_the_script_loads_makes_two_views(page: Page, server: Server) -> None:
    move = "<script>history.pushState({}, '', '/second')</script>"
    visit(page, server.page("/first", move + server.tag) + "?epik=dj0y")
    hide(page)
    views = [event["context"]["page"] for event in server.await_events(2)]
    assert [view["path"] for view in views] == ["/first", "/second"]
    assert views[0]["search"] == "?epik=dj0y"


def test_a_redirect_before_the_script_loads_keeps_the_click_id(page: Page, server: Server) -> None:
    move = "<script>history.replaceState({}, '', '/home')</script>"
    visit(page, server.page("/", move + server.tag) + "?epik=dj0y")
    hide(page)
    [view] = server.await_events(1)
    assert view["context"]["page"]["path"] == "/home"
    assert view["context"]["page"]["url"].endswith("/home?epik=dj0y")


@pytest.mark.parametrize(
    ("attributes", "change", "views"),
    [
        ("", "history.replaceState({}, '', '?b=2')", 1),
        ("", "history.replaceState({}, '', location.pathname)", 1),
        ("", "history.pushState({}, '', '?page=2')", 2),
        ("", "history.replaceState({}, '', '/other?x=1')", 2),
        ('data-query-views="on"', "history.replaceState({}, '', '?b=2')", 2),
        ("", "navigation.navigate('/routed', {history: 'push'})", 2),
        ('data-page-views="manual"', "history.pushState({}, '', '/other')", 0),
        ('data-page-views="manual"', "_df.page()", 1),
        ('data-page-views="manual"', "_df.page(); _df.page()", 1),
        ("", "_df.page()", 1),
        ("", "_df.page({url: location.href, title: 'Step 2'})", 2),
        ("", "_df.page('Checkout', {url: 'https://shop.example.com/checkout?step=1'})", 2),
    ],
)
def test_page_views(page: Page, server: Server, attributes: str, change: str, views: int) -> None:
    tag = server.tag.replace("async", f"async {attributes}")
    intercept = (
        "<script>navigation.addEventListener('navigate', e => e.canIntercept && e.intercept())</script>"
    )
    visit(page, server.page("/", ("" if "navigate(" not in change else intercept) + tag) + "?a=1")
    page.evaluate(f"() => {{ {change} }}")
    page.wait_for_timeout(50)
    track(page, "End")
    hide(page)
    server.await_events(views + 1)
    page.wait_for_timeout(50)
    assert server.names == ["page"] * views + ["End"]


def test_a_page_can_state_its_own_address(page: Page, server: Server) -> None:
    visit(page, server.page("/frame", server.tag.replace("async", 'async data-page-views="manual"')))
    page.evaluate("""() => {
        _df.page('Checkout', {url: 'https://shop.example.com/checkout?step=1', title: 'Pay', referrer: '', step: 1});
        _df.track('Started');
    }""")
    hide(page)
    view, started = server.await_events(2)
    stated = {"url": "https://shop.example.com/checkout?step=1", "path": "/checkout", "title": "Pay"}
    for event in (view, started):
        assert event["context"]["page"] == stated | {"referrer": "", "search": "?step=1"}
    assert (view["name"], view["properties"]) == ("Checkout", {"step": 1})


# ---- Consent


WAIT = 'async data-consent="wait"'


def test_events_wait_for_an_answer(page: Page, server: Server) -> None:
    visit(page, server.page("/landing", server.tag.replace("async", WAIT)) + "?epik=dj0y")
    track(page, "Seen")
    assert [tick(page), tick(page)] == [600, 1]
    server.await_events(2)


def test_waiting_events_carry_the_visitors_answer(page: Page, server: Server) -> None:
    visit(page, server.page("/landing", server.tag.replace("async", WAIT)) + "?epik=dj0y")
    track(page, "Seen")
    page.wait_for_timeout(50)
    assert server.posts == []
    page.evaluate("() => _df.consent({advertising: true})")
    hide(page)
    events = server.await_events(2)
    assert [event["context"]["consent"] for event in events] == [{"advertising": True}] * 2
    assert events[0]["context"]["page"]["url"].endswith("/landing?epik=dj0y")


def test_waiting_events_go_when_the_page_is_left(page: Page, server: Server) -> None:
    visit(page, server.page("/landing", server.tag.replace("async", WAIT)))
    hide(page)
    [event] = server.await_events(1)
    assert "consent" not in event["context"]


GTAG = "<script>window.dataLayer = window.dataLayer || []; function gtag() { dataLayer.push(arguments); }</script>"
DENIED = "<script>gtag('consent', 'default', {ad_storage: 'denied', ad_user_data: 'denied'})</script>"
TCF_YES = (
    "{eventStatus: 'useractioncomplete', purpose: {consents: {1: true, 3: true, 4: true, 7: true, 8: true}}}"
)


@pytest.mark.parametrize(
    ("head", "answer", "expected"),
    [
        (GTAG, "gtag('consent', 'update', {ad_storage: 'granted', ad_user_data: 'granted'})", True),
        (GTAG, "gtag('consent', 'update', {ad_storage: 'granted', ad_user_data: 'denied'})", False),
        (GTAG + DENIED, "gtag('consent', 'update', {ad_storage: 'granted', ad_user_data: 'granted'})", True),
        (GTAG + DENIED, "gtag('consent', 'update', {analytics_storage: 'granted'})", False),
        (
            "",
            "window.Cookiebot = {hasResponse: true, consent: {marketing: true, statistics: false}};"
            "dispatchEvent(new Event('CookiebotOnAccept'))",
            True,
        ),
        (
            "",
            "window.Cookiebot = {hasResponse: true, consent: {marketing: false, statistics: true}};"
            "dispatchEvent(new Event('CookiebotOnDecline'))",
            False,
        ),
        (
            "<script>OnetrustActiveGroups = ',C0001,'; OneTrust = {IsAlertBoxClosed: () => answered}; answered = false"
            "</script>",
            "answered = true; OnetrustActiveGroups = ',C0001,C0004,';"
            "dispatchEvent(new Event('OneTrustGroupsUpdated'))",
            True,
        ),
        (
            "<script>OneTrust = {IsAlertBoxClosed: () => true}</script>",
            "OnetrustActiveGroups = ',C0001,C0002,'; dispatchEvent(new Event('OneTrustGroupsUpdated'))",
            False,
        ),
        (
            "<script>__tcfapi = (command, version, hear) => { window.hear = hear; }</script>",
            f"hear({TCF_YES}, true)",
            True,
        ),
        (
            "<script>__tcfapi = (command, version, hear) => { window.hear = hear; }</script>",
            "hear({eventStatus: 'useractioncomplete', purpose: {consents: {1: true, 8: true}}}, true)",
            False,
        ),
    ],
)
def test_a_consent_tools_answer_is_heard(
    page: Page, server: Server, head: str, answer: str, expected: bool
) -> None:
    visit(page, server.page("/", head + server.tag.replace("async", WAIT)))
    page.evaluate(f"() => {{ {answer} }}")
    page.wait_for_timeout(50)
    track(page, "After")
    hide(page)
    events = server.await_events(2)
    assert [event["context"]["consent"]["advertising"] for event in events] == [expected] * 2


@pytest.mark.parametrize(
    ("said", "expected"),
    [("_df.consent({advertising: true})", True), ("_df.consent({advertising: false})", False)],
)
def test_what_the_page_states_counts_before_a_tool(
    page: Page, server: Server, said: str, expected: bool
) -> None:
    visit(page, server.page("/", GTAG + server.tag))
    opposite = "denied" if expected else "granted"
    page.evaluate(f"() => {{ {said}; gtag('consent', 'update', {{ad_storage: '{opposite}'}}) }}")
    hide(page)
    [event] = server.await_events(1)
    assert event["context"]["consent"] == {"advertising": expected}


def test_a_tools_denied_default_goes_along_when_no_answer_came(page: Page, server: Server) -> None:
    visit(page, server.page("/", GTAG + DENIED + server.tag.replace("async", WAIT)))
    hide(page)
    [event] = server.await_events(1)
    assert event["context"]["consent"]["advertising"] is False


def test_global_privacy_control_is_told_and_nothing_is_stored(page: Page, server: Server) -> None:
    control = "<script>Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})</script>"
    server.answers = [Answer(503)]
    visit(page, shop(server, head=control + GRANT))
    tick(page)
    page.wait_for_function("() => clock.isSet()")
    assert page.evaluate(STORAGE) == []
    tick(page)
    [event] = server.await_events(1)
    assert event["context"]["gpc"] is True


# ---- Persons


@pytest.mark.parametrize("call", ["_df.reset()", "_df.identify(null)"])
def test_signing_out_ends_the_user_id(page: Page, server: Server, call: str) -> None:
    visit(page, shop(server))
    page.evaluate(f"() => {{ _df.identify('u_1'); {call}; _df.track('After'); }}")
    hide(page)
    _, identified, signed_out, after = server.await_events(4)
    assert identified["userId"] == "u_1"
    assert (signed_out["type"], signed_out["userId"]) == ("identify", None)
    assert "userId" not in after


# ---- Pages of others


PROTOTYPE = """<script>
Array.prototype.toJSON = function () { return '[' + this.join(',') + ']'; };
String.prototype.toJSON = function () { return '"' + this + '"'; };
Number.prototype.toJSON = function () { return String(this); };
Date.prototype.toJSON = function () { return '"' + this.getTime() + '"'; };
Array.prototype.reduce = function () { return this.length > 1 ? this : this[0]; };
Object.keys = object => { const keys = []; for (const key in object) keys.push(key); return keys; };
</script>"""
MOOTOOLS = """<script>
Array.from = item => item == null ? [] : [item];
Array.prototype.flat = function () { return 'flat'; };
</script>"""
ZONE = """<script>
const realThen = Promise.prototype.then;
Promise.prototype.then = function (a, b) { return realThen.call(this, a, b); };
const realListen = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (n, f, o) { return realListen.call(this, n, f && ((e) => f(e)), o); };
</script>"""
CSP = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'nonce-abc'; "
    "connect-src {collector}; require-trusted-types-for 'script'; trusted-types 'none'\">"
)


@pytest.mark.parametrize("patches", [PROTOTYPE, MOOTOOLS, ZONE], ids=["prototype", "mootools", "zone"])
def test_a_page_that_patches_built_in_types_changes_no_event(
    page: Page, server: Server, patches: str
) -> None:
    visit(page, shop(server, head=patches + GRANT))
    page.evaluate("""() => _df.track('Order Completed', {
        products: [{product_id: 'A', price: 1.5}], at: new Date(0), total: 3, note: 'x'})""")
    hide(page)
    event = server.await_events(2)[1]
    assert event["properties"] == {
        "products": [{"product_id": "A", "price": 1.5}],
        "at": "1970-01-01T00:00:00.000Z",
        "total": 3,
        "note": "x",
    }


def test_a_strict_content_security_policy_with_trusted_types(page: Page, server: Server) -> None:
    tag = server.tag.replace("async", 'nonce="abc" async')
    page.goto(server.page("/", CSP.format(collector=server.collector) + tag))
    page.wait_for_timeout(300)
    page.goto(server.page("/other", ""))
    server.await_events(1)


def test_a_sandboxed_frame_has_no_storage_and_sends_without_credentials(page: Page, server: Server) -> None:
    inner = server.tag.replace('"', "'") + (
        "<script>const timer = setInterval(() => {"
        "if (window._df && window._df.version) {clearInterval(timer); window._df.track('Framed'); window.done = true}"
        "}, 20)</script>"
    )
    page.goto(server.page("/", f'<iframe sandbox="allow-scripts" srcdoc="{inner}"></iframe>'))
    page.frames[-1].wait_for_function("() => window.done")
    page.goto(server.page("/other", ""))
    server.await_events(2)
    assert "Framed" in server.names
    assert {post.headers["origin"] for post in server.posts} == {"null"}


def test_a_tag_without_attributes_takes_the_key_from_its_address(page: Page, server: Server) -> None:
    tag = f'<script src="{server.collector}/d.js?key=dk_live_abc123&pageViews=manual"></script>'
    visit(page, server.page("/", tag))
    track(page, "Seen")
    hide(page)
    server.await_events(1)
    assert server.names == ["Seen"]


def test_a_script_that_a_tag_manager_adds(page: Page, server: Server) -> None:
    add = f"""<script>
    const tag = document.createElement('script');
    tag.src = '{server.collector}/d.js?key=dk_live_abc123';
    document.head.appendChild(tag);
    </script>"""
    visit(page, server.page("/", add))
    hide(page)
    server.await_events(1)


def test_two_sources_on_one_page_both_get_every_call(page: Page, server: Server) -> None:
    early = "<script>_df.identify('u_1'); _df.track('Early');</script>"
    second = server.tag.replace("dk_live_abc123", "dk_live_second00000000").replace("async", "defer")
    visit(page, shop(server, head=early) + "")
    page.goto(shop(server, "/two", early + server.tag.replace("async", "") + second))
    page.wait_for_function("() => window._df && _df.keys && _df.keys.length === 2")
    track(page, "Late")
    hide(page)
    page.wait_for_timeout(300)
    by_key: dict[str, list[str]] = {}
    for post in server.posts:
        if post.events[0]["context"]["page"]["path"] == "/two":
            names = [event.get("event", event["type"]) for event in post.events]
            by_key.setdefault(post.query["key"][0], []).extend(names)
    assert by_key == {
        "dk_live_abc123": ["identify", "Early", "page", "Late"],
        "dk_live_second00000000": ["identify", "Early", "page", "Late"],
    }


def test_the_script_names_no_storage_of_its_own_beyond_two_items(page: Page) -> None:
    from worker.collector import datafly_script

    assert set(re.findall(r'"(_df_\w+)"', datafly_script._SCRIPT.decode())) == {"_df_queue", "_df_epik"}
