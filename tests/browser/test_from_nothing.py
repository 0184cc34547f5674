"""As a marketer does it: set everything up on the pages of a stack that is empty, and shop until it arrives."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser import pages
from tests.browser.pages import add_integration, go
from tests.browser.stage import ACCOUNT
from tests.integration import stack as stacks
from tests.integration.stack import Plan, Stack

pytestmark = pytest.mark.browser

# How long something may take on a machine that does other things too.
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run every process, over a ledger in which there is nothing."""
    with stacks.running(Plan(), tmp_path_factory.mktemp("n"), without=("flower",)) as running:
        yield running


@pytest.fixture
def context(browser: Browser, stack: Stack) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=stack.management_url)
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


def sign_in(context: BrowserContext, stack: Stack) -> Page:
    page = context.new_page()
    pages.sign_in(page, stack.settings.admin_token)
    expect(page.get_by_text("Nothing is set up yet.")).to_be_visible()
    return page


def add_source(page: Page) -> None:
    page.get_by_role("link", name="Add a source").click()
    page.get_by_role("link", name="Add source").first.click()
    page.get_by_label("Name", exact=True).fill("My shop")
    page.get_by_label("Domains").fill("127.0.0.1")
    page.get_by_text("Cookies and more").click()
    page.get_by_label("Only over HTTPS").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Copy its server secret and its write key now")).to_be_visible()


def order(context: BrowserContext, page: Page) -> str:
    """Buy something in the sample shop, from the link on the source's page; return the order's id."""
    go(page, "Sources")
    page.get_by_role("link", name="My shop").click()
    shop = context.new_page()
    shop.goto(str(page.get_by_role("link", name="Try it in the sample shop").get_attribute("href")))
    accept = shop.get_by_role("button", name="Accept")
    if accept.is_visible():
        accept.click()
    shop.get_by_role("link", name="Widget").click()
    shop.get_by_role("link", name="Add to cart").click()
    shop.get_by_label("E-mail").fill("jane@example.com")
    shop.get_by_role("button", name="Place the order").click()
    order_id = shop.locator("#order").inner_text()
    shop.wait_for_function("() => window._df && _df.version")
    shop.close()
    return order_id


def await_delivery(page: Page, order_id: str, state: str) -> Locator:
    """Watch the live debugger, which refreshes by itself, until a delivery is in a state; return its row."""
    go(page, "Live debugger")
    page.get_by_label("Event id contains").fill(order_id)
    page.get_by_role("button", name="Show").click()
    row = page.get_by_role("row").filter(has_text="Order Completed → checkout")
    expect(row.locator(f".tag.{state}")).to_be_visible(timeout=PATIENCE_MS)
    return row


def test_from_the_empty_pages_to_a_delivered_order_and_a_failed_one_that_is_retried(
    context: BrowserContext, stack: Stack
) -> None:
    page = sign_in(context, stack)
    add_source(page)
    add_integration(page)
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("The connection works.")).to_be_visible()
    go(page, "Live debugger")
    page.locator("summary", has_text="Debugging").click()
    page.get_by_role("button", name="Debug My shop").click()
    expect(page.get_by_text("Debugging on: new events")).to_be_visible()

    first = order(context, page)
    await_delivery(page, first, "delivered").get_by_role("link").first.click()
    for number, stage in enumerate(("Input", "Consent and rules", "Sent to Pinterest", "Answered"), 1):
        expect(page.get_by_role("heading", name=f"{number}. {stage}")).to_be_visible()
    came = page.get_by_label("Event as it came in, personal data masked")
    expect(came).to_contain_text(f'"order_id": "{first}"')
    expect(page.get_by_role("cell", name="as checkout, by the built-in table")).to_be_visible()
    sent = page.get_by_label("Payload, personal data masked")
    expect(sent).to_contain_text('"em"')
    expect(page.get_by_text("Accepted by Pinterest,")).to_be_visible()
    assert "jane@example.com" not in page.content()

    stack.sandbox.behave({"rules": [{"fail_events": {"share": 1.0}}]})
    second = order(context, page)
    await_delivery(page, second, "failed").get_by_role("link").first.click()
    expect(page.get_by_text("Pinterest refused the event").first).to_be_visible()
    stack.sandbox.behave_well()
    page.get_by_role("button", name="Retry…").click()
    expect(page.get_by_text("1 would be sent again")).to_be_visible()
    page.get_by_role("button", name="Retry 1").click()
    expect(page.get_by_text("1 delivery is pending again")).to_be_visible()
    await_delivery(page, second, "delivered")

    found = stack.sandbox.received(account=ACCOUNT)
    assert found["counts"][ACCOUNT]["checkout"] == 2
    go(page, "Sales")
    row = page.get_by_role("row").filter(has_text="checkout").first
    expect(row).to_have_text(re.compile(r"checkout\s+2\s+99\.98\s+USD"))
