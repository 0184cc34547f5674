"""The document's rows, sent with the libraries of Segment and RudderStack, arrive as printed."""

import json
import os
import re
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
from tests.docs.reading import ROOT, read
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
# A page may send these without asking in a preflight, or the browser sends them itself.
OF_BROWSERS = re.compile("accept.*|connection|content-l.*|cookie|host|origin|referer|sec-.*|user-agent")


def pass_on(stack: Stack, visitor: Visitor) -> Callable[[Route], None]:
    """Bring the browser's requests to the collector, as a proxy in front of it does.

    The browser asks nothing in a preflight before a request that is answered here, so that is done here too.
    """

    def handle(route: Route) -> None:
        request = route.request
        headers = request.all_headers() | visitor.headers
        url = request.url.replace(COLLECTOR, stack.collector_url)
        if "origin" in request.headers:
            asked = requests.options(url, headers={"Origin": request.headers["origin"]}, timeout=15)
            allowed = asked.headers.get("Access-Control-Allow-Headers", "").lower().split(", ")
            if any(not OF_BROWSERS.fullmatch(name) and name not in allowed for name in request.headers):
                route.abort()
                return
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


PAGES = ROOT / "docs" / "platforms"


def snippet(page: str, language: str, shop: Shop) -> str:
    """Return the code of a platform's page, with the shop's address and keys."""
    (code,) = (text for kind, text in read(PAGES / f"{page}.md").blocks if kind == language)
    values = {
        "YOUR_WRITE_KEY": write_key(shop.source_id, shop.secret),
        "YOUR_PIPELINE_KEY": shop.key,
        "YOUR_SERVER_SECRET": shop.secret,
        "src_shop": shop.source_id,
    }
    for name, value in values.items():
        code = code.replace(name, value)
    return code


def on_server(code: str, shop: Shop) -> str:
    return code.replace("https://data.your-shop.example", shop.stack.collector_url)


# Replaces the functions of a server container.
GTM = """
const events = {event_name: "purchase", event_id: "gtm-1", client_id: "c", transaction_id: "ORD-001", value: 129.99,
  currency: "USD", items: [{item_id: "A", price: 129.99, quantity: 1}], ip_override: "203.0.113.50",
  user_agent: "Mozilla/5.0 ...", page_location: "https://example.com/p", "x-ga-gcs": "G111"};
const api = {JSON, getAllEventData: () => events, toBase64: btoa, sendHttpRequest: async (url, options, body) => {
  const answer = await fetch(url, {...options, body});
  return {statusCode: answer.status};
}};
const data = {collector: "%s/", writeKey: "%s", gtmOnSuccess: () => { process.exitCode = 0; }, gtmOnFailure: () => {}};
process.exitCode = 1;
((require) => {
%s
})((name) => api[name]);
"""


@pytest.mark.parametrize("page", ["python", "node", "php", "gtm", "magento"])
def test_an_order_arrives_from_the_program_of_a_platforms_page(
    stack: Stack, libraries: Path, page: str
) -> None:
    shop = Shop(stack)
    if page == "python":
        (libraries / "page.py").write_text(on_server(snippet(page, page, shop), shop))
        run([sys.executable, "page.py"], libraries, PYTHONPATH=str(libraries / "python"))
    elif page == "php":
        run(["php", str(php_file(libraries, on_server(snippet(page, page, shop), shop)))], libraries)
    elif page == "magento":
        event = json.loads(snippet(page, "json", shop))
        shop.sign([event])
    else:
        code = on_server(snippet(page, "js", shop), shop)
        if page == "gtm":
            with pytest.raises(AssertionError):
                run_node(libraries, GTM % (stack.collector_url, "wrong", code))
            code = GTM % (stack.collector_url, write_key(shop.source_id, shop.secret), code)
        run_node(libraries, code)
    shop.await_delivered(1)
    (delivery,) = shop.deliveries()
    assert (delivery.event_name, delivery.signed) == ("checkout", True)
    assert delivery.consent is not None
    assert "was granted" in delivery.consent


def run_node(folder: Path, code: str) -> None:
    (folder / "page.mjs").write_text(code)
    run([str(shutil.which("node")), "page.mjs"], folder)


def php_file(folder: Path, code: str) -> Path:
    if shutil.which("php") is None:
        pytest.skip("php is not installed")
    file = folder / "page.php"
    file.write_text(code)
    return file


# The page's code is pasted below other code, as into a theme's functions.php.
WOOCOMMERCE = """<?php
$_COOKIE = ['your_consent' => '%s', '_epik' => 'dj0abc'];
class Order { public $meta = []; function update_meta_data($key, $value) { $this->meta[$key] = $value; } }
function add_action($name, $do) { $order = new Order(); $do($order); echo json_encode($order->meta), "\\n"; }
function wp_json_encode($value) { return json_encode($value); }
function wp_unslash($value) { return $value; }
function sanitize_text_field($value) { return $value; }
"""


@pytest.mark.parametrize("consent", ["granted", "denied"])
def test_the_woocommerce_pages_code_keeps_click_id_and_consent_with_the_order(
    stack: Stack, tmp_path: Path, consent: str
) -> None:
    code = snippet("woocommerce", "php", Shop(stack))
    granted = consent == "granted"
    kept = {"_consent": json.dumps({"advertising": granted}, separators=(",", ":"))}
    kept |= {"_epik": "dj0abc"} if granted else {}
    printed = php_output(tmp_path, WOOCOMMERCE % consent + code)
    assert [json.loads(line) for line in printed.splitlines()] == [kept, kept]


def php_output(folder: Path, code: str) -> str:
    command = ["php", str(php_file(folder, code))]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


# `toArray` is as in Magento: it returns the named fields.
MAGENTO = """<?php
class Row { function __construct(public $data, public $items = []) {}
  function toArray($keys) { return array_combine($keys, array_map(fn ($key) => $this->data[$key] ?? null, $keys)); }
  function getIncrementId() { return $this->data['increment_id']; }
  function getAllVisibleItems() { return $this->items; }
  function getEvent() { return $this; }
  function getOrder() { return $this; } }
$_COOKIE = ['your_consent' => 'granted'];
$_SERVER['HTTP_USER_AGENT'] = 'Mozilla/5.0 ...';
$order = json_decode('%s', true);
$observer = new Row($order + ['state' => 'new'], array_map(fn ($item) => new Row($item), $order['items']));
"""


def test_the_magento_pages_observer_makes_its_event(stack: Stack, tmp_path: Path) -> None:
    shop = Shop(stack)
    event = json.loads(snippet("magento", "json", shop))
    code = MAGENTO % json.dumps(event["properties"]) + snippet("magento", "php", shop) + "echo $body;"
    assert json.loads(php_output(tmp_path, code)) == event


@pytest.mark.parametrize("page", ["html", "segment", "rudderstack"])
def test_an_order_arrives_from_the_pages_code_in_a_browser(stack: Stack, libraries: Path, page: str) -> None:
    shop, visitor = Shop(stack), Visitor()
    code = snippet(page, "html" if page == "html" else "js", shop)
    code = code.replace("https://data.your-shop.example", COLLECTOR).replace(
        "data.your-shop.example", COLLECTOR.removeprefix("https://")
    )
    if page != "html":
        (libraries / "page.mjs").write_text(code)
        run(["npx", "esbuild", "page.mjs", "--bundle", "--format=iife", "--outfile=page.js"], libraries)
        code = "<script src='/page.js'></script>"
    with chromium() as browser, browser.new_context(user_agent=visitor.user_agent) as context:
        tab = context.new_page()
        body = f"<!doctype html><html><head>{code}</head></html>"
        tab.route("https://example.com/**", lambda route: route.fulfill(body=body, content_type="text/html"))
        tab.route("https://example.com/page.js", lambda route: route.fulfill(path=libraries / "page.js"))
        tab.route(f"{COLLECTOR}/**", pass_on(stack, visitor))
        tab.goto(LANDING_URL)

        def arrived() -> bool:
            tab.wait_for_timeout(100)
            return ("checkout", False) in [(one.event_name, one.signed) for one in shop.deliveries()]

        until(f"the order of {page} arrives", arrived)


@pytest.mark.parametrize("allowed", [True, False])
def test_the_shopify_pages_code_keeps_click_id_and_consent_with_the_cart(stack: Stack, allowed: bool) -> None:
    code, sent = snippet("shopify", "html", Shop(stack)), list[Any]()
    privacy = f"window.Shopify = {{customerPrivacy: {{marketingAllowed: () => {str(allowed).lower()}}}}};"
    body = f"<!doctype html><script>{privacy}</script>{code}"

    def answer(route: Route) -> None:
        if route.request.url.endswith("/cart/update.js"):
            sent.append(route.request.post_data_json)
        route.fulfill(body=body, content_type="text/html")

    with chromium() as browser, browser.new_context() as context:
        tab = context.new_page()
        tab.route("https://example.com/**", answer)
        tab.goto(LANDING_URL)
        tab.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
        until("the cart is updated", lambda: tab.wait_for_timeout(50) or sent)
    consent = json.dumps({"advertising": allowed}, separators=(",", ":"))
    assert sent[0] == {"attributes": {"_consent": consent} | ({"_epik": EPIK} if allowed else {})}
