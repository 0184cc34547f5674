"""Flower in a browser, on each broker."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Error as BrowserError

from tests.integration import stack as stacks
from tests.integration.shop import Shop, Visitor
from tests.integration.stack import QUEUES, Plan, Stack
from tests.integration.waiting import until

pytestmark = pytest.mark.browser

TASKS = ("tasks.ingest.process_event", "tasks.batching.group_pending", "tasks.delivery.deliver_batch")


PLANS = [
    pytest.param(Plan(), id="valkey"),
    pytest.param(Plan("rabbitmq"), id="rabbitmq", marks=[pytest.mark.services, pytest.mark.slow]),
    pytest.param(Plan("redis"), id="redis", marks=[pytest.mark.services, pytest.mark.slow]),
]


@pytest.fixture(scope="module", params=PLANS)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run a stack in which one event was delivered."""
    with stacks.running(request.param, tmp_path_factory.mktemp("f")) as running:
        shop = Shop(running)
        shop.send("/v1/t", {"event": "Signed Up", "messageId": "seen_in_flower"}, Visitor())
        shop.await_delivered(1)
        yield running


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """Open a page that knows Flower's password."""
    user, _, password = stack.settings.flower_basic_auth.partition(":")
    context = browser.new_context(
        base_url=stack.flower_url,
        http_credentials={"username": user, "password": password},
        viewport={"width": 1400, "height": 900},
    )
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", ["/", "/workers", "/tasks", "/broker", "/worker/x", "/task/x"])
def test_asks_for_a_password(stack: Stack, path: str) -> None:
    assert requests.get(stack.flower_url + path, timeout=10).status_code == 401
    wrong = ("operator", "a-guess")
    assert requests.get(stack.flower_url + path, auth=wrong, timeout=10).status_code == 401


@pytest.mark.parametrize("path", ["/api/workers", "/api/tasks", "/api/queues/length", "/api/task/types"])
def test_refuses_its_api_to_strangers(stack: Stack, path: str) -> None:
    assert requests.get(stack.flower_url + path, timeout=10).status_code == 401


def test_refuses_commands_from_strangers(stack: Stack) -> None:
    for path in ("/api/worker/shutdown/ingest1", "/api/task/apply/tasks.upkeep.purge"):
        assert requests.post(stack.flower_url + path, timeout=10).status_code == 401


def test_health_and_metrics_are_open_by_flowers_design_and_tell_no_ids(stack: Stack) -> None:
    # Flower serves these two to everybody, whatever its password; it listens on this machine alone.
    assert requests.get(f"{stack.flower_url}/healthcheck", timeout=10).text == "OK"
    metrics = requests.get(f"{stack.flower_url}/metrics", timeout=10)
    assert metrics.status_code == 200
    assert "seen_in_flower" not in metrics.text


def test_a_browser_without_the_password_is_let_in_nowhere(browser: Browser, stack: Stack) -> None:
    context = browser.new_context()
    with pytest.raises(BrowserError, match="ERR_INVALID_AUTH_CREDENTIALS"):
        context.new_page().goto(stack.flower_url)
    context.close()


def test_shows_the_three_workers(stack: Stack, page: Page, tmp_path: Path) -> None:
    page.goto("/")
    for name in stack.workers:
        row = page.locator("#workers-table tbody tr", has_text=f"{name}@")
        expect(row).to_have_count(1)
        expect(row).to_contain_text("Online")
    expect(page.locator("#workers-table tbody tr")).to_have_count(3)
    _keep(page, "flower-workers.png", tmp_path)


def test_shows_the_tasks(page: Page, tmp_path: Path) -> None:
    page.goto("/tasks")
    expect(page.locator("#tasks-table tbody tr").first).to_be_visible()
    for name in TASKS:
        page.locator("input[type=search]").fill(name)
        # Ticks come four times a second, so the latest of them may still be at work when the page is made.
        row = page.locator("#tasks-table tbody tr", has_text=name).filter(has_text="SUCCESS").first
        expect(row).to_be_visible()
    _keep(page, "flower-tasks.png", tmp_path)
    row.locator("a[href*='/task/']").first.click()
    expect(page.locator("body")).to_contain_text("deliver_batch")
    expect(page.locator("body")).to_contain_text("Received")
    _keep(page, "flower-task.png", tmp_path)


def test_shows_the_length_of_each_queue(stack: Stack, page: Page, tmp_path: Path) -> None:
    shop = Shop(stack)
    stack.stop("ingest1")
    try:
        for number in range(3):
            shop.send("/v1/t", {"event": "Signed Up", "messageId": f"waiting_{number}"}, Visitor())
        until("three messages wait", lambda: _lengths(stack).get("events") == 3)
        page.goto("/broker")
        for queue in QUEUES:
            row = page.locator("table tbody tr").filter(has=page.get_by_text(queue, exact=True))
            expect(row).to_have_count(1)
        row = page.locator("table tbody tr").filter(has=page.get_by_text("events", exact=True))
        expect(row).to_contain_text("3")
        _keep(page, "flower-broker.png", tmp_path)
    finally:
        stack.start("ingest1")
    stack.await_ready("ingest1")
    shop.await_delivered(3)


def test_keeps_what_it_saw_over_a_restart(stack: Stack, page: Page) -> None:
    page.goto("/tasks")
    page.locator("input[type=search]").fill("deliver_batch")
    row = page.locator("#tasks-table tbody tr", has_text="deliver_batch").filter(has_text="SUCCESS").first
    expect(row).to_be_visible()
    before = row.locator("a[href*='/task/']").first.get_attribute("href")
    stack.stop("flower")
    stack.start("flower")
    stack.await_ready("flower")
    page.goto(str(before))
    expect(page.locator("body")).to_contain_text("deliver_batch")
    expect(page.locator("body")).to_contain_text("SUCCESS")


def test_shows_ids_as_arguments_and_how_long_a_task_took(page: Page) -> None:
    page.goto("/tasks")
    page.locator("input[type=search]").fill("process_event")
    row = page.locator("#tasks-table tbody tr", has_text="process_event").filter(has_text="SUCCESS").first
    expect(row).to_contain_text(re.compile(r"\d\.\d+"))
    row.locator("a[href*='/task/']").first.click()
    expect(page.locator("body")).to_contain_text(re.compile(r"\(\d+ ids: \d+ to \d+,\)"))


def _lengths(stack: Stack) -> dict[str, int]:
    user, _, password = stack.settings.flower_basic_auth.partition(":")
    answer = requests.get(f"{stack.flower_url}/api/queues/length", auth=(user, password), timeout=10).json()
    return {queue["name"]: queue["messages"] for queue in answer["active_queues"]}


def _keep(page: Page, name: str, tmp_path: Path) -> None:
    """Save a picture where SCREENSHOTS says, or with the test's own files."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / name, full_page=True)
