"""As a marketer without a token does it: sign in at Pinterest, pick the ad account, sell something, see the score."""

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import pages
from tests.browser.pages import go
from tests.browser.test_from_nothing import PATIENCE_MS, add_source, await_delivery, order
from tests.integration import stack as stacks
from tests.integration.stack import BROKER, Plan, Stack
from worker.dev.sandbox.received_events import token_fingerprint
from worker.ledger.setup import ad_accounts, integrations

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Beat starts the reading once a minute.
SCORE_SECONDS = 100.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run every process over an empty ledger, with a Pinterest that is another site for the browser."""
    app = {"PINTEREST_APP_ID": "1500000", "PINTEREST_APP_SECRET": "the-secret-of-the-app"}
    with stacks.prepared(Plan(environment=app), tmp_path_factory.mktemp("c")) as stack:
        # Cookies of the pages at 127.0.0.1 are not sent if a page at localhost leads there.
        stack.environment["PINTEREST_API_URL"] = f"http://localhost:{stack.sandbox.port}"
        del stack.commands["flower"]
        stack.start(*(name for name in stack.commands if name != BROKER))
        stack.await_ready()
        yield stack


def await_score(page: Page, words: str) -> None:
    """Reload the page on match quality until it has some words."""
    deadline = time.monotonic() + SCORE_SECONDS
    while words not in page.locator("main").inner_text():
        assert time.monotonic() < deadline, page.locator("main").inner_text()
        page.wait_for_timeout(1_000)
        page.reload()


def sign_in_at_pinterest(page: Page, stack: Stack, choice: str) -> None:
    page.get_by_role("link", name="Connect with Pinterest").click()
    expect(page.get_by_role("heading", name="Give access to your Pinterest account?")).to_be_visible()
    assert urlsplit(page.url).netloc == f"localhost:{stack.sandbox.port}"
    page.get_by_role("link", name=choice).click()


def test_from_signing_in_to_a_delivered_order_and_pinterests_score(browser: Browser, stack: Stack) -> None:
    context = browser.new_context(base_url=stack.management_url)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    pages.sign_in(page, stack.settings.admin_token)
    expect(page.get_by_text(f"events go to http://localhost:{stack.sandbox.port}, not to")).to_be_visible()
    add_source(page)
    go(page, "Integrations")
    page.get_by_role("link", name="Add Integration").first.click()
    page.get_by_role("link", name="Pinterest Conversions API").click()
    sign_in_at_pinterest(page, stack, "Cancel")
    expect(page.get_by_text("You gave no access at Pinterest, so nothing was changed.")).to_be_visible()

    page.goto("/integrations/add/pinterest")
    sign_in_at_pinterest(page, stack, "Give access")
    expect(page.get_by_text("Signed in. Pick the ad account")).to_be_visible()
    page.get_by_label("Name or id contains").fill("demo")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="Demo shop").click()
    expect(page.get_by_label("ad_account_id")).to_have_value("549755885175")
    expect(page.get_by_label("Country of phone numbers")).to_have_value("US")
    expect(page.get_by_label("Currency of amounts without one")).to_have_value("USD")
    page.get_by_label("Keep the name download_picture").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Integration saved.")).to_be_visible()
    expect(page.get_by_text("Connected to Demo shop (US, USD, America/New_York)")).to_be_visible()
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("The connection works.")).to_be_visible()
    expect(page.get_by_text("from the sandbox at")).to_be_visible()

    await_delivery(page, order(context, page), "delivered")
    with stack.ledger() as ledger, ledger.read() as connection:
        (made,) = integrations.iterate_integrations(connection)
        token = ad_accounts.access_token(connection, ledger.vault, made.credential_id)
    assert token.startswith("pinc_")
    sent = stack.sandbox.received(event_name="checkout")["last"]
    assert {one["token"] for one in sent} == {token_fingerprint(token)}

    go(page, "Match quality")
    expect(page.get_by_role("heading", name="Checkouts of Pinterest: Demo shop")).to_be_visible()
    await_score(page, "CONVERSIONS_API on WEB: FAIR")
    expect(page.get_by_text("Few checkout events have a hashed email.")).to_be_visible()
    page.get_by_text("Coverage by component and event").first.click()
    expect(page.get_by_role("row", name="external_event_id checkout 100 % 64 %")).to_be_visible()
    context.close()
    for path in [file for file in stack.var.rglob("*") if file.is_file()]:
        found = [mark for mark in (b"pina_", b"pinr_", b"pinc_") if mark in path.read_bytes()]
        assert (path.name, found) == (path.name, [])
