"""Click through the management pages as people do."""

from datetime import UTC, datetime

from playwright.sync_api import Page, expect

from tests.browser.stage import ACCOUNT


def sign_in(page: Page, token: str) -> None:
    """Sign in, and wait for the first page."""
    page.goto("/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in with the token").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def go(page: Page, name: str) -> None:
    """Follow a link of the navigation."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name).click()


def add_integration(page: Page) -> None:
    """Follow the document: Integrations > Add Integration > Pinterest Conversions API, fill in, save."""
    go(page, "Integrations")
    page.get_by_role("link", name="Add Integration").first.click()
    page.get_by_role("link", name="Pinterest Conversions API").click()
    page.get_by_label("ad_account_id").fill(ACCOUNT)
    page.get_by_label("access_token").fill("your_access_token")
    expect(page.get_by_label("Advertising")).to_be_checked()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Integration saved.")).to_be_visible()


def upload_orders(page: Page, *order_ids: str) -> None:
    """Add the shop's own orders of today by a file."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = [f"{order_id},{now},129.99,USD" for order_id in order_ids]
    text = "\n".join(["order_id,timestamp,total,currency", *lines])
    page.goto("/orders")
    page.get_by_label("File").set_input_files(
        {"name": "orders.csv", "mimeType": "text/csv", "buffer": text.encode()}
    )
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text(f"{len(order_ids)} new orders recorded")).to_be_visible()
