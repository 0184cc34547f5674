"""The pages in a real browser: set up, watch, repair, without JavaScript too."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import pages
from tests.browser.pages import add_integration, go
from tests.browser.stage import ACCOUNT, TOKEN, Stage, order, stage, track
from worker.api import auth
from worker.ledger.setup import sources
from worker.pages.routes import overview
from worker.pages.routes.sign_in import _MOST_WRONG_BY_ADDRESS

pytestmark = pytest.mark.browser

PAGES = (
    "/",
    "/?span=1h",
    "/integrations",
    "/integrations/add",
    "/integrations/add/pinterest",
    "/sources",
    "/sources/add",
    "/events",
    "/orders",
    "/events?sort=oldest",
    "/sales",
    "/failed",
    "/quality",
    "/data-quality",
    "/explain",
    "/audit",
    "/access",
    "/search?q=ORD-001",
)
VIOLATIONS = {"resultTypes": ["violations"], "preload": False}
# The rules of axe whose result depends on size and colours; the others see the same page.
OF_LOOKS = VIOLATIONS | {
    "runOnly": ["color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block"]
}
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1_280, "height": 800}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as site:
        yield site


@pytest.fixture
def context(browser: Browser, site: Stage) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=site.url)
    yield context
    context.close()


@pytest.fixture
def plain(browser: Browser, site: Stage) -> Iterator[BrowserContext]:
    """Switch JavaScript off."""
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    yield context
    context.close()


def sign_in(context: BrowserContext, token: str = TOKEN) -> Page:
    page = context.new_page()
    page.set_default_timeout(20_000)
    pages.sign_in(page, token)
    return page


def add_source(page: Page) -> None:
    go(page, "Sources")
    page.get_by_role("link", name="Add source").first.click()
    page.get_by_label("Name", exact=True).fill("Demo shop")
    page.get_by_label("Domains").fill("shop.example.com")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Copy its server secret and its write key now")).to_be_visible()


def supply(site: Stage) -> None:
    """Set up a source and an integration by the API, for tests that are about something else."""
    source = {"id": "src_shop", "name": "Demo shop", "domain": "shop.example.com"}
    config = {"ad_account_id": ACCOUNT, "access_token": "your_access_token"}
    integration = {"source_id": "src_shop", "vendor": "pinterest", "name": "Pinterest", "config": config}
    for path, body in (("sources", source), ("integrations", integration)):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        made = requests.post(f"{site.url}/v1/admin/{path}", json=body, headers=headers, timeout=20)
        assert made.status_code == 201, made.text


def figure(page: Page, name: str) -> str:
    return page.locator("dl.figures div", has_text=re.compile(f"^{name}")).locator("dd").inner_text()


def test_from_an_empty_site_to_a_delivered_order(context: BrowserContext, site: Stage) -> None:
    page = sign_in(context)
    expect(page.get_by_text("Nothing is set up yet.")).to_be_visible()
    add_source(page)
    add_integration(page)
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("The connection works.")).to_be_visible()
    assert site.sandbox.received(account=ACCOUNT)["accepted"] == 0
    assert site.sandbox.received(account=ACCOUNT)["tested"] == 1

    site.happen(order("ORD-001"))
    go(page, "Overview")
    assert figure(page, "Delivered") == "1"
    page.get_by_label("Find an order").fill("ORD-001")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("row").nth(1).get_by_role("link").first.click()
    expect(page.get_by_text("Accepted by Pinterest")).to_be_visible()
    page.get_by_role("link", name="Show payload").click()
    expect(page.get_by_label("Payload, personal data masked")).to_contain_text('"value": "129.99"')


def test_an_order_of_the_shop_that_failed_is_sent_from_the_list_of_missing_ones(
    context: BrowserContext, site: Stage
) -> None:
    page = sign_in(context)
    supply(site)
    site.happen(order("ORD-001"))
    site.sandbox.behave({"rules": [{"fail_events": {"share": 1.0}}]})
    site.happen(order("ORD-002"))
    site.sandbox.behave_well()
    pages.upload_orders(page, "ORD-001", "ORD-002", "ORD-003")
    expect(page.get_by_role("heading", name="Accuracy: 33.3 %")).to_be_visible()
    expect(page.get_by_text("No event of this order was received.")).to_be_visible()
    page.get_by_label("Choose ORD-002").check()
    page.get_by_role("button", name="Send selected again").click()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("1 delivery")).to_be_visible()
    site.happen()
    page.goto("/orders")
    expect(page.get_by_role("heading", name="Accuracy: 66.7 %")).to_be_visible()


def test_a_failed_delivery_is_retried_by_a_click(context: BrowserContext, site: Stage) -> None:
    page = sign_in(context)
    supply(site)
    site.sandbox.behave({"rules": [{"fail_events": {"share": 1.0}}]})
    site.happen(order("ORD-001"), order("ORD-002"))
    site.sandbox.behave_well()

    go(page, "Failed deliveries")
    page.get_by_role("button", name="Ignore").click()
    expect(page.locator(".tag", has_text="ignored")).to_be_visible()
    page.get_by_role("button", name="Open again").click()
    expect(page.locator(".tag", has_text="open")).to_be_visible()
    page.get_by_role("link", name="Pinterest refused the event").click()
    page.get_by_role("button", name="Select all").click()
    page.get_by_role("button", name="Retry selected").click()
    expect(page.get_by_text("2 would be sent again")).to_be_visible()
    expect(page.get_by_text("2 of 2 will not be delivered by a retry alone.")).to_be_visible()
    page.get_by_role("button", name="Retry 2").click()
    expect(page.get_by_text("2 deliveries are pending again")).to_be_visible()
    site.work()

    go(page, "Live debugger")
    expect(page.locator(".tag.delivered")).to_have_count(2)
    assert site.sandbox.received(account=ACCOUNT)["accepted"] == 2


def test_without_javascript_everything_essential_works(plain: BrowserContext, site: Stage) -> None:
    page = sign_in(plain)
    add_source(page)
    add_integration(page)
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("The connection works.")).to_be_visible()
    site.sandbox.behave({"rules": [{"fail_events": {"share": 1.0}}]})
    site.happen(order("ORD-001"))
    site.sandbox.behave_well()
    go(page, "Failed deliveries")
    page.get_by_role("button", name="Retry all 1").click()
    page.get_by_role("button", name="Retry 1").click()
    expect(page.get_by_text("1 delivery is pending again")).to_be_visible()
    site.work()
    go(page, "Overview")

    assert figure(page, "Delivered") == "1"
    assert figure(page, "Still failed") == "0"
    page.get_by_text("As numbers").click()
    expect(page.get_by_role("table")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_the_overview_refreshes_by_itself(
    context: BrowserContext, site: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "_REFRESH_SECONDS", 1)
    page = sign_in(context)
    supply(site)
    go(page, "Overview")
    site.happen(order("ORD-001"))

    delivered = page.locator("dl.figures div", has_text="Delivered").locator("dd")
    expect(delivered).to_have_text("1")
    page.locator("[data-refresh] summary").first.focus()
    expect(page.get_by_text("Refresh waits while you use this part.")).to_be_visible()
    site.happen(order("ORD-002"))
    page.get_by_role("heading", name="Overview").click()
    expect(delivered).to_have_text("2")
    expect(page.get_by_text("Refreshes automatically.")).to_be_visible()


def test_a_page_whose_session_ended_says_so_and_shows_nothing_new(
    context: BrowserContext, site: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "_REFRESH_SECONDS", 1)
    page = sign_in(context)
    context.clear_cookies(name=auth.SESSION_COOKIE)

    expect(page.get_by_text("Refresh failed")).to_be_visible(timeout=8_000)
    go(page, "Sources")
    expect(page.get_by_role("heading", name="Sources")).not_to_be_visible()
    expect(page.get_by_label("Token")).to_be_visible()


def test_a_wrong_token_opens_nothing_and_the_right_one_is_accepted_after_many(
    context: BrowserContext, site: Stage
) -> None:
    page = context.new_page()
    page.goto("/sources")
    for _ in range(_MOST_WRONG_BY_ADDRESS):
        page.get_by_label("Token").fill("a-guess")
        page.get_by_role("button", name="Sign in with the token").click()
        expect(page.get_by_role("alert")).to_have_text("Invalid token.")
    page.get_by_label("Token").fill("a-guess")
    page.get_by_role("button", name="Sign in with the token").click()

    expect(page.get_by_role("alert")).to_contain_text("Too many wrong tokens.")
    expect(page.get_by_role("navigation", name="Main")).not_to_be_visible()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in with the token").click()
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()


def test_a_form_of_another_site_changes_nothing(context: BrowserContext, site: Stage) -> None:
    page = sign_in(context)
    add_source(page)
    with site.ledger.read() as connection:
        (source,) = sources.sources_after(connection, 2)
    # The same machine by another name is another site to a browser.
    elsewhere = site.url.replace("127.0.0.1", "localhost")
    page.route(
        f"{elsewhere}/trap", lambda route: route.fulfill(content_type="text/html", body=trap(site, source.id))
    )
    page.goto(f"{elsewhere}/trap")
    page.get_by_role("button", name="Win a prize").click()

    expect(page.get_by_role("alert")).to_be_visible()
    with site.ledger.read() as connection:
        assert [one.id for one in sources.sources_after(connection, 2)] == [source.id]
    page.goto(f"{site.url}/sources")
    expect(page.get_by_role("link", name="Demo shop")).to_be_visible()


def trap(site: Stage, source_id: str) -> str:
    return f'<form method="post" action="{site.url}/sources/{source_id}/delete"><button>Win a prize</button></form>'


def have_an_order_refused(site: Stage) -> None:
    supply(site)
    site.sandbox.behave({"rules": [{"fail_events": {"share": 1.0}}]})
    site.happen(order("ORD-001"))
    site.sandbox.behave_well()


def test_a_viewer_looks_at_everything_and_changes_nothing(
    browser: Browser, context: BrowserContext, site: Stage
) -> None:
    page = sign_in(context)
    have_an_order_refused(site)
    go(page, "Access")
    page.get_by_label("Name", exact=True).fill("Anna")
    page.get_by_role("button", name="Create token").click()
    token = page.locator("#token-text").inner_text()

    others = browser.new_context(base_url=site.url)
    guest = sign_in(others, token)
    expect(guest.get_by_role("link", name="Access")).not_to_be_visible()
    for path in ("/integrations", "/sources", "/events", "/failed", "/failed?reason_class=refused"):
        guest.goto(path)
        expect(guest.get_by_role("heading", level=1)).to_be_visible()
        expect(guest.locator("main").get_by_role("button")).to_have_count(1 if path == "/events" else 0)
    guest.goto("/sources/add")
    expect(guest.get_by_role("alert")).to_contain_text("Your role is viewer")
    others.close()


def test_loading_a_page_anew_repeats_neither_what_was_done_nor_a_secret(
    context: BrowserContext, site: Stage
) -> None:
    page = sign_in(context)
    add_source(page)
    secret = page.locator("#secret").inner_text()
    page.reload()

    with site.ledger.read() as connection:
        (source,) = sources.sources_after(connection, 2)
    assert page.url == f"{site.url}/sources/{source.id}"
    expect(page.get_by_role("heading", name="Demo shop")).to_be_visible()
    assert secret not in page.content()

    add_integration(page)
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("The connection works.")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Pinterest Conversions")).to_be_visible()
    expect(page.get_by_text("The connection works.")).not_to_be_visible()
    expect(page.get_by_text("Integration saved.")).not_to_be_visible()
    assert site.sandbox.received(account=ACCOUNT)["tested"] == 1


def test_a_refused_form_is_gone_back_to_with_what_stood_in_it(context: BrowserContext, site: Stage) -> None:
    page = sign_in(context)
    have_an_order_refused(site)
    page.goto("/failed?reason_class=refused")
    page.get_by_role("button", name="Retry selected").click()
    expect(page.get_by_role("alert")).to_have_text("Select at least one delivery.")
    page.get_by_role("button", name="Back").click()

    expect(page.get_by_role("heading", name="Deliveries", exact=True)).to_be_visible()


def test_a_wrong_field_is_said_to_everybody(context: BrowserContext) -> None:
    page = sign_in(context)
    add_source(page)
    page.goto("/integrations/add/pinterest")
    page.get_by_label("ad_account_id").fill("no digits")
    page.get_by_label("access_token").fill("your_access_token")
    page.get_by_role("button", name="Save").click()

    field = page.get_by_label("ad_account_id")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("Must be a text of 1 to 18 digits"))
    expect(page.get_by_label("access_token")).to_be_empty()


def test_the_keyboard_reaches_the_content_at_once(context: BrowserContext) -> None:
    page = sign_in(context)
    page.goto("/sources")
    page.keyboard.press("Tab")

    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="First steps")).to_be_focused()


@dataclass(frozen=True)
class LivedIn:
    """A site that has one of everything, for tests that only look, with the cookies of a person who is signed in."""

    site: Stage
    cookies: Any
    addresses: Sequence[str]

    def visit(self, browser: Browser, **options: Any) -> Page:
        """Open a tab of the person."""
        return browser.new_context(base_url=self.site.url, storage_state=self.cookies, **options).new_page()


@pytest.fixture(scope="module")
def lived_in(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivedIn]:
    with stage(tmp_path_factory.mktemp("lived-in")) as site:
        page = sign_in(browser.new_context(base_url=site.url))
        supply(site)
        go(page, "Live debugger")
        page.locator("summary", has_text="Debugging").click()
        page.get_by_role("button", name="Debug Demo shop").click()
        site.happen(
            {"type": "identify", "anonymousId": "v", "traits": {"email": "john.doe@example.com"}},
            order("ORD-001", total=12_999.5),
            track("Order Completed", order_id="ORD-900"),
            {"type": "page", "context": {"consent": {"advertising": False}}},
        )
        pages.upload_orders(page, "ORD-001", "ORD-900", "ORD-901")
        yield LivedIn(site, page.context.storage_state(), addresses(page))
        page.context.close()


def addresses(page: Page) -> list[str]:
    """Return all pages, with those of one object."""
    found = list(PAGES)
    for path, start in (
        ("/integrations", "/int"),
        ("/sources", "/src"),
        ("/events", "/"),
        ("/events", "/inputs"),
    ):
        page.goto(path)
        link = page.locator(f'main table a[href^="{path}{start}"]').first
        found.append(str(link.get_attribute("href")))
    integration, source = found[-4:-2]
    found += [f"{integration}/change", f"{integration}/delete", f"{source}/change"]
    return [*found, "/failed?reason_class=missing_value"]


@dataclass
class Walk:
    """What a walk through all pages found."""

    requested: list[str]
    said: list[str]
    wide: list[str]
    violations: dict[tuple[str, str], list[str]]


@pytest.fixture(scope="module")
def walk(browser: Browser, lived_in: LivedIn) -> Walk:
    """Look once at each page, light on a desk and then dark on a phone."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page, found = lived_in.visit(browser, viewport=DESK), Walk([], [], [], {})
    page.on("request", lambda request: found.requested.append(request.url))
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    for address in lived_in.addresses:
        for scheme, size, options in (("light", DESK, VIOLATIONS), ("dark", PHONE, OF_LOOKS)):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size(size)  # type: ignore[arg-type]
            if size is DESK:
                page.goto(address)
            if page.evaluate("document.documentElement.scrollWidth") > size["width"]:
                found.wide.append(address)
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            for violation in axe.run(page, options=options).response["violations"]:
                nodes = [node["html"][:120] for node in violation["nodes"]]
                found.violations[address, violation["id"]] = nodes
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    page.context.close()
    return found


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_blocked(walk: Walk, lived_in: LivedIn) -> None:
    assert len(walk.requested) > 20
    assert {url for url in walk.requested if not url.startswith(f"{lived_in.site.url}/")} == set()
    assert walk.said == []


def test_no_page_is_wider_than_a_phone(walk: Walk) -> None:
    assert walk.wide == []


def test_axe_finds_nothing_wrong(walk: Walk) -> None:
    assert walk.violations == {}


def test_times_are_in_the_zone_of_the_viewer_and_in_utc_without_javascript(
    browser: Browser, lived_in: LivedIn
) -> None:
    kolkata = lived_in.visit(browser, timezone_id="Asia/Kolkata")
    plain = lived_in.visit(browser, timezone_id="Asia/Kolkata", java_script_enabled=False)
    for page in (kolkata, plain):
        page.goto("/events?stands=failed&since=2020-01-01T00:00")
    shown, written = (page.locator("td time").first.inner_text() for page in (kolkata, plain))
    at = datetime.fromisoformat(written.replace(" UTC", "+00:00")) + timedelta(hours=5, minutes=30)

    assert shown == f"{at:%Y-%m-%d %H:%M:%S} UTC+5:30"
    expect(kolkata.locator("footer")).to_contain_text("Times are in Asia/Calcutta.")
    expect(plain.locator("footer")).to_contain_text("Times are in UTC.")
    expect(kolkata.get_by_label("From (Asia/Calcutta)")).to_have_value("2020-01-01T05:30")
    kolkata.get_by_role("button", name="Show").click()
    expect(kolkata).to_have_url(re.compile("since=2020-01-01T00%3A00"))
    # Midnight in Kolkata is half past six in UTC.
    expect(kolkata.get_by_role("link", name="Failed today", exact=True)).to_have_attribute(
        "href", re.compile("since=....-..-..T18%3A30")
    )
    kolkata.get_by_role("link", name="Orders yesterday").click()
    expect(kolkata.get_by_label("From (Asia/Calcutta)")).to_have_value(re.compile("T00:00"))
    expect(kolkata.get_by_label("Until (Asia/Calcutta)")).to_have_value(re.compile("T00:00"))
    expect(kolkata.get_by_role("link", name="Orders yesterday")).to_have_attribute("aria-current", "true")
    expect(plain.get_by_role("link", name="Failed today (UTC)")).to_have_attribute(
        "href", re.compile("since=....-..-..T00")
    )
    for page in (kolkata, plain):
        page.context.close()


def test_a_phone_folds_the_navigation_and_shows_the_first_event_at_once(
    browser: Browser, lived_in: LivedIn
) -> None:
    page = lived_in.visit(browser, viewport={"width": 390, "height": 844})
    page.goto("/events")
    first = page.locator("main table tbody tr").first.bounding_box()
    assert first
    assert first["y"] + first["height"] <= 844
    link = page.get_by_role("link", name="Failed deliveries")
    expect(link).not_to_be_visible()
    page.get_by_text("Menu").click()
    link.click()

    expect(page.get_by_role("heading", name="Failed deliveries")).to_be_visible()
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    expect(link).to_be_visible()
    expect(page.get_by_text("Menu")).not_to_be_visible()
    page.context.close()


def test_the_values_of_a_chart_are_read_by_pointer_and_keyboard(browser: Browser, lived_in: LivedIn) -> None:
    page = lived_in.visit(browser, timezone_id="Asia/Kolkata")
    page.goto("/")
    chart = page.get_by_role("slider", name="Deliveries")
    chart.focus()
    page.keyboard.press("End")
    newest = chart.get_attribute("aria-valuetext") or ""
    assert re.fullmatch(r"[\d-]{10} \d\d:30 UTC\+5:30: 1 delivered, 1 failed, 1 filtered", newest)
    expect(page.locator("output").first).to_have_text(newest)
    page.keyboard.press("ArrowLeft")
    expect(chart).to_have_attribute("aria-valuetext", re.compile("0 delivered, 0 failed, 0 filtered"))
    chart.locator(".column").last.hover()
    expect(chart).to_have_attribute("aria-valuetext", newest)
    page.context.close()


def test_money_and_numbers_are_grouped_alike_on_every_page(browser: Browser, lived_in: LivedIn) -> None:
    page = lived_in.visit(browser)
    for address in ("/events", "/sales"):
        page.goto(address)
        expect(page.locator("main")).to_contain_text("12,999.50")
    page.context.close()


def test_axe_finds_nothing_wrong_with_the_sign_in_page(context: BrowserContext) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = context.new_page()
    page.goto("/sign-in")

    assert [violation["id"] for violation in axe.run(page).response["violations"]] == []
