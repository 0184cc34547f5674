"""The built tag is that of its source; the npm package, GTM template and Shopify pixel work in a browser."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.driving import hide
from tests.browser.shop_fixtures import KEY, Server
from worker.collector import datafly_script

PACKAGES = Path(__file__).parents[2] / "packages"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the build tools in a copy of the package, and return its folder."""
    if shutil.which("npm") is None:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail("npm is not installed, and REQUIRE_SERVICES=1 requires it")
        pytest.skip("npm is not installed")
    root = tmp_path_factory.mktemp("packages")
    for name in ("worker/collector/static", "packages/datafly-js"):
        ignore = shutil.ignore_patterns("node_modules", "dist")
        shutil.copytree(PACKAGES.parent / name, root / name, ignore=ignore)
    folder = root / "packages" / "datafly-js"
    _run(folder, "npm", "ci", "--no-audit", "--no-fund")
    return folder


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_built_tag_is_that_of_its_source(package: Path) -> None:
    _run(package, "node", "build.mjs", str(package / "tag.js"))
    assert (package / "tag.js").read_bytes() == datafly_script._SCRIPT


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.browser
def test_the_npm_package_works_in_a_page_that_vite_builds(package: Path, page: Page, server: Server) -> None:
    [packed] = json.loads(_run(package, "npm", "pack", "--json"))
    shop = package.parent / "shop"
    (shop / "src").mkdir(parents=True)
    (shop / "package.json").write_text('{"name": "shop", "private": true, "type": "module"}')
    (shop / "index.html").write_text('<!doctype html><script type="module" src="/src/main.ts"></script>')
    (shop / "src" / "main.ts").write_text(
        f"""import {{ load, track, consent, type DataflySettings }} from "datafly-js";
track("Early", {{ n: 1 }});
const settings: DataflySettings = {{ key: "{KEY}", endpoint: "{server.collector}/" }};
load(settings);
consent({{ advertising: true }});
track("Order Completed", {{ order_id: "A-1", total: 5, currency: "EUR" }});
"""
    )
    packages = [str(package / packed["filename"]), "vite@6", "typescript@5"]
    _run(shop, "npm", "install", "--no-audit", "--no-fund", *packages)
    types = ("--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler")
    _run(shop, "npx", "tsc", *types, "src/main.ts")
    _run(shop, "npx", "vite", "build", "--logLevel", "error")
    script = next((shop / "dist" / "assets").glob("*.js")).read_text("utf-8")
    page.goto(server.page("/", f'<script type="module">{script}</script>'))
    page.wait_for_function("() => clock.isSet()")
    hide(page)
    events = server.await_events(3)
    assert server.names == ["Early", "page", "Order Completed"]
    assert [event["context"]["consent"] for event in events] == [{"advertising": True}] * 3


# ---- Shopify

# What Shopify's sandbox gives to a custom pixel: `analytics`, `api`, `browser` and `init` in a frame without an origin.
SHOPIFY = """
const subscribers = {};
const analytics = {subscribe: (name, hear) => (subscribers[name] = subscribers[name] || []).push(hear)};
const privacy = [];
const api = {customerPrivacy: {subscribe: (name, hear) => privacy.push(hear)}};
const init = {customerPrivacy: {marketingAllowed: false, analyticsProcessingAllowed: true,
    preferencesProcessingAllowed: true, saleOfDataAllowed: false}};
const browser = {};
addEventListener('message', ({data}) => {
    if (data.privacy) privacy.forEach(hear => hear({customerPrivacy: data.privacy}));
    else (subscribers[data.name] || []).forEach(hear => hear(data));
});
"""
DOCUMENT = {
    "location": {"href": "https://shop.example.com/checkouts/c1/thank-you?epik=dj0y"},
    "title": "Thank you",
    "referrer": "https://shop.example.com/cart",
}
CHECKOUT = {
    "checkout": {
        "currencyCode": "EUR",
        "email": "jane@example.com",
        "order": {"id": "gid://shopify/Order/1001"},
        "totalPrice": {"amount": 59.5, "currencyCode": "EUR"},
    }
}


@pytest.mark.browser
def test_shopifys_custom_pixel_sends_from_its_sandboxed_frame(page: Page, server: Server) -> None:
    pixel = (PACKAGES / "shopify-pixel" / "pixel.js").read_text("utf-8")
    pixel = pixel.replace("https://data.your-shop.example/", f"{server.collector}/")
    pixel = pixel.replace("YOUR_PIPELINE_KEY", KEY)
    # Each pixel runs in a function of its own.
    frame = f"<script>{SHOPIFY}(function () {{ {pixel} }})();</script>".replace("&", "&amp;")
    frame = frame.replace('"', "&quot;")
    url = server.page("/", f'<iframe sandbox="allow-scripts allow-forms" srcdoc="{frame}"></iframe>')
    page.goto(url)
    page.wait_for_timeout(300)
    privacy = {"marketingAllowed": True, "analyticsProcessingAllowed": True}
    messages = [
        {"privacy": privacy},
        {"name": "page_viewed", "id": "sh-1", "context": {"document": DOCUMENT}, "data": {}},
        {"name": "checkout_completed", "id": "sh-2", "context": {"document": DOCUMENT}, "data": CHECKOUT},
    ]
    for message in messages:
        page.evaluate("message => frames[0].postMessage(message, '*')", message)
    page.wait_for_timeout(300)
    page.goto(server.page("/other", ""))
    view, checkout = server.await_events(2)
    for event in (view, checkout):
        assert event["context"]["page"]["url"] == DOCUMENT["location"]["href"]
        assert event["context"]["page"]["title"] == "Thank you"
        assert event["context"]["consent"]["advertising"] is True
    assert checkout["event"] == "checkout_completed"
    assert checkout["properties"] == {"event_id": "sh-2"} | CHECKOUT


# ---- Google Tag Manager

# Runs the template's code as GTM does: only what it requires, and only what its permissions allow.
GTM = """({code, fields, layer}) => {
    const loaded = {};
    const apis = {
        callInWindow: (path, ...args) => path.split('.').reduce((holder, name) => holder[name], window)(...args),
        copyFromDataLayer: name => layer[name],
        encodeUriComponent: encodeURIComponent,
        injectScript: (url, done, failed, token) => {
            if (!url.match(/^https?:\\/\\/.+\\/d\\.js/)) throw new Error('not permitted');
            loaded[token] = loaded[token] || new Promise((resolve, reject) => {
                const tag = document.createElement('script');
                tag.async = true;
                tag.src = url;
                tag.onload = resolve;
                tag.onerror = reject;
                document.head.appendChild(tag);
            });
            loaded[token].then(done, failed);
        },
    };
    return new Promise((resolve, reject) => {
        const data = Object.assign({gtmOnSuccess: () => resolve('done'), gtmOnFailure: () => reject('failed')}, fields);
        new Function('require', 'data', code)(name => apis[name], data);
    });
}"""


def _section(template: str, name: str) -> str:
    return template.split(f"___{name}___")[1].partition("\n___")[0].strip()


@pytest.mark.browser
def test_the_gtm_template_sends_the_data_layers_purchases_after_consent(page: Page, server: Server) -> None:
    template = (PACKAGES / "gtm-template" / "template.tpl").read_text("utf-8")
    for name in ("INFO", "TEMPLATE_PARAMETERS", "WEB_PERMISSIONS"):
        json.loads(_section(template, name))
    code = _section(template, "SANDBOXED_JS_FOR_WEB_TEMPLATE")
    ga4 = {"transaction_id": "A-1", "value": 5, "currency": "EUR", "items": [{"item_id": "SKU"}]}
    enhanced = {"currencyCode": "EUR", "purchase": {"actionField": {"id": "A-2", "revenue": "5"}}}
    page.goto(server.page("/", "<script>dataLayer = []</script>"))
    settings = {"collector": f"{server.collector}/", "key": KEY, "wait": True}
    for fields, ecommerce in (
        ({"call": "load"}, {}),
        ({"call": "identify", "traits": {"email": "jane@example.com"}}, {}),
        ({"call": "track"}, ga4),
        ({"call": "track"}, enhanced),
    ):
        given = {
            "code": code,
            "fields": settings | fields,
            "layer": {"event": "purchase", "ecommerce": ecommerce},
        }
        assert page.evaluate(GTM, given) == "done"
    page.evaluate("_df.consent({advertising: true})")
    hide(page)
    events = server.await_events(4)
    assert server.names == ["page", "identify", "purchase", "purchase"]
    assert events[1]["traits"] == {"email": "jane@example.com"}
    assert [event["properties"] for event in events[2:]] == [ga4, {"ecommerce": enhanced}]
    assert [event["context"]["consent"] for event in events] == [{"advertising": True}] * 4
