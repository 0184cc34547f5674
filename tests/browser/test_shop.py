"""The sample shop's events reach the real collector, by clicks in a browser."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select
from werkzeug.serving import make_server

from tests.browser.shop_fixtures import await_true
from worker.collector.wsgi import create_app
from worker.dev.sandbox.server import Sandbox, sandbox_in_thread
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.migrate import migrate
from worker.ledger.schema import inbox as inbox_table
from worker.ledger.setup import sources
from worker.ledger.setup.sources import Source
from worker.settings import parse

pytestmark = pytest.mark.browser

KEY = "dk_test_abc123"
SOURCE = Source(
    id="src_shop",
    name="Shop",
    domains=("localhost", "127.0.0.1"),
    created_at=1.0,
    updated_at=1.0,
    options={"secure_cookies": False},
)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with sandbox_in_thread() as sandbox:
        yield sandbox


class Collector:
    """The real collector, and what is in its inbox."""

    def __init__(self, ledger: Ledger, port: int) -> None:
        self.ledger = ledger
        self.url = f"http://127.0.0.1:{port}"

    def kept(self) -> list[dict[str, Any]]:
        """Return the rows' bodies: event and how it was received."""
        with self.ledger.read() as connection:
            bodies = connection.scalars(select(inbox_table.c.body).order_by(inbox_table.c.id)).all()
        return [json.loads(self.ledger.vault.open(body, inbox.BODY)) for body in bodies]

    def events(self) -> list[dict[str, Any]]:
        """Return the events, each once: a page that left before the answer sends the same event again."""
        return list({row["event"]["messageId"]: row["event"] for row in self.kept()}.values())

    def names(self) -> list[str]:
        return [event.get("event") or event["type"] for event in self.events()]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    ledger = Ledger(f"sqlite:///{tmp_path}/l.db", ("00" * 32,))
    migrate(ledger)
    # Makes the day's key, which is a write of its own and would wait for the one below.
    ledger.vault.seal(b"", b"")
    with ledger.write() as connection:
        sources.insert_source(connection, ledger.vault, SOURCE, KEY, "whsec_of_the_shop")
    app = create_app(ledger, parse({"SIGNAL_VAR": str(tmp_path)}), len)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Collector(ledger, server.port)
    server.shutdown()
    thread.join(5)
    server.server_close()
    ledger.dispose()


def enter(page: Page, sandbox: Sandbox, collector: Collector, query: str = "") -> None:
    entry = urlencode({"collector": collector.url, "key": KEY})
    page.goto(f"{sandbox.url}/shop?{entry}{query}")


def test_from_the_first_page_to_the_order(page: Page, sandbox: Sandbox, collector: Collector) -> None:
    """Consent, the click id of the landing page, the e-mail address and the order arrive; the cookies stay."""
    enter(page, sandbox, collector, "&epik=dj0yJnU9")
    expect(page.get_by_role("region", name="Consent")).to_be_visible()
    page.get_by_role("button", name="Accept").click()
    page.get_by_role("link", name="Widget").click()
    expect(page.get_by_role("region", name="Consent")).to_be_hidden()
    page.get_by_role("link", name="Add to cart").click()
    page.get_by_label("E-mail").fill("jane@example.com")
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    order_id = page.locator("#order").inner_text()
    await_true(lambda: "Order Completed" in collector.names(), lambda: f"the order: {collector.names()}")
    await_true(lambda: collector.names().count("page") == 4, lambda: f"4 page views: {collector.names()}")
    assert sorted(set(collector.names())) == [
        "Order Completed",
        "Product Added",
        "Product Viewed",
        "identify",
        "page",
    ]
    [order] = [event for event in collector.events() if event.get("event") == "Order Completed"]
    assert (order["properties"]["order_id"], order["properties"]["total"]) == (order_id, 49.99)
    assert order["context"]["consent"] == {"advertising": True, "analytics": True}
    [known] = [event for event in collector.events() if event["type"] == "identify"]
    assert known["traits"] == {"email": "jane@example.com"}
    assert "jane" not in page.url
    received = collector.kept()[-1]["received"]
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    assert cookies == {"_dfid": received["df"], "_pin_unauth": received["pu"], "_epik": "dj0yJnU9"}
    link = page.get_by_role("link", name="what the sandbox received of it")
    expect(link).to_have_attribute("href", f"/received?event_id=evt_{order_id}")


def test_an_order_that_is_loaded_again_is_the_same_event(
    page: Page, sandbox: Sandbox, collector: Collector
) -> None:
    enter(page, sandbox, collector, "&cart=SKU-A")
    page.get_by_role("link", name="Cart (1)").click()
    page.get_by_role("button", name="Place the order").click()
    page.wait_for_function("() => _df.version")
    page.reload()

    def orders() -> list[str]:
        return [event["properties"]["event_id"] for event in collector.events() if event.get("event")]

    await_true(lambda: len(orders()) == 2, lambda: f"both: {collector.names()}")
    assert len(set(orders())) == 1


def test_a_visitor_who_declines_is_believed(page: Page, sandbox: Sandbox, collector: Collector) -> None:
    enter(page, sandbox, collector, "&epik=dj0yJnU9")
    page.get_by_role("button", name="Decline").click()
    page.get_by_role("link", name="Gizmo").click()
    page.wait_for_function("() => _df.version")
    page.get_by_role("link", name="Sample shop").click()
    await_true(lambda: "Product Viewed" in collector.names(), lambda: f"the view: {collector.names()}")
    [view] = [event for event in collector.events() if event.get("event") == "Product Viewed"]
    assert view["context"]["consent"] == {"advertising": False, "analytics": False}
    assert [cookie["name"] for cookie in page.context.cookies()] == ["_dfid"]
    kept = "() => [...Object.keys(localStorage), ...Object.keys(sessionStorage)]"
    assert page.evaluate(kept) == ["shop_consent"]


def test_who_comes_without_a_key_is_asked_and_let_in(
    page: Page, sandbox: Sandbox, collector: Collector
) -> None:
    page.goto(f"{sandbox.url}/shop")
    page.get_by_label("Collector").fill(collector.url)
    page.get_by_label("Pipeline key").fill(KEY)
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_role("heading", name="Everything we sell")).to_be_visible()
    await_true(lambda: collector.names() == ["page"], lambda: f"the view: {collector.names()}")
