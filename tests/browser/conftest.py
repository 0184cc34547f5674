"""One browser for each module of page tests, and the visitor and the site that Datafly.js is tried with."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.driving import visitor
from tests.browser.shop_fixtures import Server, chromium, serving

# A page that works is there in a blink; a machine that is busy may take its time all the same.
expect.set_options(timeout=20_000)


# One for the module: while it runs, no other test could use an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with visitor(browser) as page:
        yield page
