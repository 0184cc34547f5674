"""The document's rows, sent with the libraries of Segment and RudderStack, arrive as printed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from playwright.sync_api import Route

from tests.browser.shop_fixtures import chromium
from tests.integration import services
from tests.integration.conftest import EMBEDDED
from tests.integration.shop import CONSENT, EPIK, LANDING_URL, PIN_UNAUTH, Shop, Visitor
from tests.integration.stack import Stack
from tests.integration.test_golden import BY_EVENT_ID, EM, ROWS, expected_payload
from tests.integration.waiting import until
from worker.ledger.setup.sources import write_key

# The libraries are installed first.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), EMBEDDED]

CLIENTS = Path(__file__).parent / "clients"
PYTHON_LIBRARIES = ("segment-analytics-python==2.4.0", "rudder-sdk-python==2.1.9")
CONTEXT = {
    "ip": "203.0.113.50",
    "userAgent": "Mozilla/5.0 ...",
    "page": {"url": LANDING_URL},
    "consent": CONSENT,
    "pin_unauth": PIN_UNAUTH,
}


def run(command: list[str], folder: Path, **environment: str) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the libraries into a folder that also has the programs that use them."""
    if shutil.which("npm") is None:
        services.missing("npm is not installed")
    folder = tmp_path_factory.mktemp("clients") / "clients"
    shutil.copytree(CLIENTS, folder)
    run(["npm", "ci", "--no-audit", "--no-fund"], folder)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", "python", *PYTHON_LIBRARIES]
    run(pip, folder)
    return folder


def calls(prefix: str) -> list[dict[str, Any]]:
    """Return the document's rows as calls of a library, after an identify call."""
    shared = {"userId": f"user-{prefix}", "context": CONTEXT}
    identified = shared | {
        "type": "identify",
        "traits": {"email": "john.doe@example.com"},
        "messageId": f"{prefix}_identify",
    }
    rows = [
        shared
        | {"messageId": f"{prefix}_{number}", "type": "page" if path == "/v1/p" else "track"}
        | ({} if path == "/v1/p" else {"event": call["event"], "properties": call.get("properties", {})})
        for number, (path, call, _, _) in enumerate(ROWS)
    ]
    return [identified, *rows]


@pytest.mark.parametrize(
    "program", ["segment_python.py", "rudder_python.py", "segment_node.mjs", "rudder_node.mjs"]
)
def test_every_row_arrives_as_printed_from_a_server_library(
    stack: Stack, libraries: Path, program: str
) -> None:
    shop, prefix = Shop(stack, **BY_EVENT_ID), uuid4().hex
    key = write_key(shop.source_id, shop.secret)
    interpreter = sys.executable if program.endswith(".py") else str(shutil.which("node"))
    command = [interpreter, program, stack.collector_url, key, json.dumps(calls(prefix))]
    run(command, libraries, PYTHONPATH=str(libraries / "python"))
    assert_rows_arrived(shop, prefix)


def assert_rows_arrived(shop: Shop, prefix: str) -> None:
    shop.await_delivered(len(ROWS))
    for number in range(len(ROWS)):
        event_id = f"{prefix}_{number}"
        (event,) = shop.received(event_id)
        assert event["user_data"]["em"] == [EM]
        assert (event["user_data"]["click_id"], event["user_data"]["partner_id"]) == (PIN_UNAUTH, EPIK)
        assert expected_payload(number, event_id, event["event_time"]) == event


COLLECTOR = "https://data.example.com"


def pass_on(stack: Stack, visitor: Visitor) -> Callable[[Route], None]:
    """Bring the browser's requests to the collector, as a proxy in front of it does."""

    def handle(route: Route) -> None:
        request = route.request
        headers = request.all_headers() | visitor.headers
        url = request.url.replace(COLLECTOR, stack.collector_url)
        answer = requests.request(
            request.method, url, data=request.post_data_buffer, headers=headers, timeout=15
        )
        kept = {name: text for name, text in answer.headers.items() if name.lower() != "content-length"}
        route.fulfill(status=answer.status_code, headers=kept, body=answer.content)

    return handle


@pytest.mark.parametrize("program", ["segment_browser", "rudder_browser"])
def test_every_row_arrives_as_printed_from_a_browser_library(
    stack: Stack, libraries: Path, program: str
) -> None:
    shop, visitor, prefix = Shop(stack, **BY_EVENT_ID), Visitor(), uuid4().hex
    esbuild = ["npx", "esbuild", f"{program}.mjs", "--bundle", "--format=iife", f"--outfile={program}.js"]
    run(esbuild, libraries)
    sent = [call | {"context": {"consent": CONSENT}} for call in calls(prefix)]
    for call in sent:
        # The libraries make the messages' ids themselves.
        call["properties"] = call.get("properties", {}) | {"event_id": call["messageId"]}
    with chromium() as browser, browser.new_context(user_agent=visitor.user_agent) as context:
        page = context.new_page()
        page.route(
            "https://example.com/**",
            lambda route: route.fulfill(body="<html></html>", content_type="text/html"),
        )
        page.route(f"{COLLECTOR}/**", pass_on(stack, visitor))
        page.goto(LANDING_URL)
        page.add_script_tag(path=libraries / f"{program}.js")
        page.evaluate("([host, key, calls]) => send(host, key, calls)", [COLLECTOR, shop.key, sent])

        def arrived() -> bool:
            # Lets the browser's requests pass.
            page.wait_for_timeout(100)
            return shop.accepted() >= len(ROWS)

        until(f"{program} sends the rows", arrived)
    assert_rows_arrived(shop, prefix)
