"""Drive Datafly.js in a page, and its time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.shop_fixtures import STUB, Server, await_true

ALLOWED = {"advertising": True, "analytics": False}
GRANT = "<script>_df.consent({advertising: true, analytics: false})</script>"
KEPT = "() => JSON.parse(localStorage.getItem('_df_queue') || '[]').map(event => event.event || event.type)"
STORAGE = "() => [...Object.keys(localStorage), ...Object.keys(sessionStorage)].sort()"

# The script's time does not advance until a test lets its next timer run, so that a busy machine changes nothing.
# What gives up on an answer is no timer that a test waits for.
CLOCK = """(() => {
    const wait = setTimeout, timers = new Map();
    let now = 0, last = 0;
    const next = () => [...timers].filter(([, one]) => one.ms !== 30000).sort((a, b) => a[1].at - b[1].at)[0];
    window.setTimeout = (work, ms) => {
        if (!ms) return wait(work);
        timers.set(++last, {ms, at: now + ms, work});
        return last;
    };
    window.clearTimeout = id => timers.delete(id);
    performance.now = () => now;
    window.clock = {
        isSet: () => Boolean(next()),
        tick() {
            const [id, timer] = next();
            timers.delete(id);
            now = Math.max(now, timer.at);
            timer.work();
            return timer.ms;
        },
        giveUp: () => [...timers.values()].filter(one => one.ms === 30000).forEach(one => one.work()),
    };
})()"""


@contextmanager
def visitor(browser: Browser) -> Iterator[Page]:
    """Lend a tab of a visitor who was never here; a page's error fails the test."""
    context = browser.new_context(locale="de-DE", timezone_id="Europe/Berlin")
    context.add_init_script(CLOCK)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def visit(page: Page, url: str) -> None:
    """Go to a page and wait until Datafly.js is there."""
    page.goto(url)
    await_script(page)


def await_script(page: Page) -> None:
    """Wait until Datafly.js is in the page."""
    page.wait_for_function("() => window._df && _df.version")


def track(page: Page, *names: str) -> None:
    page.evaluate("names => names.forEach(name => _df.track(name))", list(names))


def hide(page: Page) -> None:
    page.evaluate("""() => {
        Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
        delete document.visibilityState;
    }""")


def tick(page: Page) -> float:
    """Let the script's next timer run, as soon as there is one; return its seconds."""
    page.wait_for_function("() => clock.isSet()")
    milliseconds: float = page.evaluate("() => clock.tick()")
    return milliseconds / 1000


def told(page: Page, server: Server, count: int) -> list[dict[str, Any]]:
    """Return the page's report, without waiting for the batch to fill or its second to end."""
    hide(page)
    return server.await_events(count)


def shop(server: Server, path: str = "/", head: str = "") -> str:
    return server.page(path, STUB + head + server.tag)


def tick_until(page: Page, holds: Callable[[], bool], what: Callable[[], str]) -> None:
    """Let one timer after the other run until something holds."""
    await_true(lambda: holds() or page.evaluate("() => clock.isSet() && clock.tick() < 0"), what)
