"""One browser for each module of page tests."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.shop_fixtures import chromium

# A page that works is there in a blink; a machine that is busy may take its time all the same.
expect.set_options(timeout=20_000)


# One for the module: while it runs, no other test could use an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser
