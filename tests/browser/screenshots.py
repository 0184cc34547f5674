"""Take the pictures of the documentation: ``python -m tests.browser.screenshots [folder]``."""

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.browser.pages import upload_orders
from tests.browser.shop_fixtures import chromium
from tests.browser.stage import TOKEN, Stage, order, stage, track
from worker.ledger.reports import sales_by_day, tallies
from worker.ledger.reports.sales_by_day import Sale
from worker.ledger.reports.tallies import SECONDS_PER_HOUR, Entry
from worker.ledger.setup import pinterest_connections
from worker.pinterest.client.account_client import AccountClient
from worker.pipeline.upkeep.account_reading import read_pinterest

FOLDER = Path(__file__).parents[2] / "docs" / "images"
DESK, PHONE = {"width": 1180, "height": 800}, {"width": 390, "height": 844}

TALLEST = 1_500
SECONDS_A_DAY = 86_400

PAGES = {
    "overview": "/",
    "integrations": "/integrations",
    "add-integration": "/integrations/add/pinterest",
    "sources": "/sources",
    "events": "/events",
    "failed": "/failed",
    "orders": "/orders",
    "sales": "/sales",
    "quality": "/quality",
    "audit": "/audit",
    "access": "/access",
}


def main(folder: Path) -> None:
    """Write one picture of each page, in the light; dark and on a phone in folders of their own."""
    with tempfile.TemporaryDirectory() as kept, stage(Path(kept)) as site, chromium() as browser:
        page = _signed_in(browser, site, "light", DESK)
        _set_up(page)
        _live(site)
        missing = ("ORD-900", "ORD-901", "ORD-902", "ORD-950")
        upload_orders(page, *(f"ORD-{number:03}" for number in range(12)), *missing)
        _take(page, folder)
        if "--all" in sys.argv:
            _take(_signed_in(browser, site, "dark", DESK), folder / "dark")
            _take(_signed_in(browser, site, "light", PHONE), folder / "phone")


def _signed_in(browser: Browser, site: Stage, scheme: str, size: dict[str, int]) -> Page:
    context = browser.new_context(base_url=site.url, color_scheme=scheme, viewport=size)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/sign-in")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in with the token").click()
    return page


def _set_up(page: Page) -> None:
    page.goto("/sources/add")
    page.get_by_label("Name", exact=True).fill("Demo shop")
    page.get_by_label("Domains").fill("shop.example.com")
    page.get_by_role("button", name="Save").click()
    _sign_in_at_pinterest(page)
    page.get_by_role("link", name="Demo shop").click()
    page.get_by_label("Name", exact=True).fill("Pinterest Conversions")
    page.get_by_role("button", name="Save").click()
    page.goto("/events")
    page.locator("summary", has_text="Debugging").click()
    page.get_by_role("button", name="Debug Demo shop").click()
    for name, role in (("Anna", "editor"), ("Ben", "viewer")):
        page.goto("/access")
        if not page.get_by_label("Name of the person").is_visible():
            page.get_by_text("Add a user").click()
        page.get_by_label("Name of the person").fill(name)
        page.get_by_label("Role of the person").select_option(role)
        page.get_by_label("Password", exact=True).fill("a password of 24 letters")
        page.get_by_role("button", name="Add user").click()
    page.get_by_label("Name", exact=True).fill("Report of the month")
    page.get_by_role("button", name="Create token").click()


def _sign_in_at_pinterest(page: Page) -> None:
    page.goto("/integrations/add/pinterest")
    page.get_by_role("link", name="Connect with Pinterest").click()
    page.get_by_role("link", name="Give access").click()
    page.get_by_text("Pick the ad account whose").wait_for()


def _live(site: Stage) -> None:
    """Let a day's events come, some of which fail."""
    site.happen({"type": "identify", "anonymousId": "v1", "traits": {"email": "john.doe@example.com"}})
    for number in range(12):
        visitor = {"anonymousId": f"v{number % 4}"}
        site.happen(
            track("Product Viewed", product_id="SKU-A", price=49.99, currency="USD") | visitor,
            order(f"ORD-{number:03}") | visitor,
            {"type": "page", "context": {"consent": {"advertising": number % 3 > 0}}} | visitor,
        )
    site.happen(track("Order Completed", order_id="ORD-900"), track("Product Added", product_id="SKU-B"))
    script = {"rules": [{"fail_events": {"share": 1.0}}]}
    try:
        site.sandbox.behave(script)
        site.happen(order("ORD-901"), order("ORD-902"))
    finally:
        site.sandbox.behave_well()
    site.accept([order("ORD-903")])
    _past(site)


def _past(site: Stage) -> None:
    """Write down what was counted in the hours and days before."""
    now = time.time()
    for hours in range(1, 48):
        n = 40 + 35 * (hours % 7) + 12 * (hours % 3) - 20 * (hours // 24)
        counts = {tallies.DELIVERED: n, tallies.FILTERED: n // 6, tallies.FAILED: 9 * (hours in (5, 6))}
        took = {2.0: n - n // 12, 5.0 + 30 * (hours in (5, 6)): n // 12}
        with site.ledger.write() as connection:
            entries = {Entry("", 1, "checkout", outcome): k for outcome, k in counts.items()}
            tallies.append_tallies(connection, tallies.Counter(entries), now - hours * SECONDS_PER_HOUR)
            within = {(1, tallies.latency_step(seconds)): k for seconds, k in took.items()}
            tallies._append_rollups(connection, tallies.Counter(within), now - hours * SECONDS_PER_HOUR)
    came = {
        "em,ip_ua,click_id": 61,
        "ip_ua,click_id,partner_id": 130,
        "ip_ua,late": 14,
        "invalid=missing_value": 9,
    }
    with site.ledger.write() as connection:
        quality = {Entry("", 1, "checkout", f"{tallies.QUALITY}{words}"): n for words, n in came.items()}
        tallies.append_tallies(connection, tallies.Counter(quality), now - SECONDS_A_DAY)
    today = int(now // SECONDS_A_DAY)
    _scores(site, today)
    with site.ledger.write() as connection:
        for days in range(1, 6):
            for name, n, value in (
                ("checkout", 60 + 7 * days % 11, 84_950),
                ("page_visit", 900 + 31 * days, 0),
            ):
                sold = Sale(today - days, "USD", value) if value else Sale(today - days)
                sales_by_day.append_sales(connection, [(1, name, sold)] * n)


def _scores(site: Stage, today: int) -> None:
    """Read Pinterest's score of today, and write down those of the days before."""
    app = site.settings.pinterest_app_id, site.settings.pinterest_app_secret
    read_pinterest(site.ledger, AccountClient(site.settings.pinterest_api_url, *app), time.time)
    with site.ledger.write() as connection:
        kept = pinterest_connections.newest_scores(connection)
        for days in range(1, 25):
            before = [
                {
                    "source_platform": one.source_platform,
                    "ingestion_source": one.ingestion_source,
                    "overall_status": "NEEDS_IMPROVEMENT" if days > 9 else one.overall_status,
                    "components": one.components,
                }
                for one in kept
                if one.lookback == "14d"
            ]
            pinterest_connections.store_scores(
                connection, kept[0].ad_account, {"14d": before}, today - days, kept[0].read_at
            )


def _take(page: Page, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)

    def picture(name: str) -> None:
        # What is lower says nothing new.
        height = min(TALLEST, int(page.evaluate("document.documentElement.scrollHeight")))
        clip = {"x": 0, "y": 0, "width": page.evaluate("innerWidth"), "height": height}
        page.screenshot(path=folder / f"{name}.png", full_page=True, clip=clip)  # type: ignore[arg-type]

    for name, path in PAGES.items():
        page.goto(path)
        picture(name)
    page.goto("/integrations")
    page.get_by_role("link", name="Pinterest Conversions").click()
    page.get_by_role("button", name="Test connection").click()
    picture("test-connection")
    _sign_in_at_pinterest(page)
    page.goto(f"{page.url}&wanted=client+1")
    picture("pick-account")
    page.goto("/sources")
    page.get_by_role("link", name="Demo shop").click()
    picture("source")
    page.goto("/search?q=ORD-003")
    picture("find")
    page.get_by_role("row").nth(1).get_by_role("link").first.click()
    picture("event")
    page.goto("/explain")
    page.get_by_role("button", name="Explain").click()
    picture("explain")
    page.goto("/failed")
    page.get_by_role("button", name="Retry all").click()
    picture("retry")
    page.goto("/integrations")
    page.get_by_role("link", name="Pinterest Conversions").click()
    page.get_by_role("link", name="Delete this integration").click()
    picture("delete-integration")


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    main(Path(given[0]) if given else FOLDER)
