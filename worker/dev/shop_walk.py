"""Send the events of one shop visitor, and print the deliveries."""

import secrets
import string
import sys
import time
from typing import Any

import requests

from worker.ledger.database import Ledger
from worker.ledger.delivery import find_deliveries
from worker.ledger.delivery.find_deliveries import FoundDelivery
from worker.ledger.setup import integrations, sources
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.ledger.setup.integrations import Integration
from worker.ledger.setup.sources import Source
from worker.ledger.upkeep import watermarks
from worker.operations.caller import Caller
from worker.operations.deliveries.live_debugger import follow_deliveries
from worker.settings import DEMO_TOKEN_PREFIX, Settings

_SOURCE_ID = "src_abc123"
# Not the account of the documentation's examples, so that those can still be created.
_AD_ACCOUNT_ID = "549755885175"


def create_demo(ledger: Ledger, settings: Settings) -> None:
    """Add the demo's source and integration unless they are there."""
    ledger.vault.prepare()
    now = time.time()
    rate = AccountRateLimit(settings.rate_limit_rps, settings.rate_limit_burst)
    with ledger.write() as connection:
        if sources.load_source(connection, _SOURCE_ID) is not None:
            return
        key, secret = f"dk_test_{secrets.token_hex(12)}", secrets.token_urlsafe(32)
        sources.insert_source(connection, ledger.vault, _source(now), key, secret)
        token = f"{DEMO_TOKEN_PREFIX}{secrets.token_urlsafe(24)}"
        integrations.insert_integration(connection, ledger.vault, _integration(now), token, rate)


def _source(now: float) -> Source:
    return Source(
        id=_SOURCE_ID,
        name="Demo shop",
        domains=("example.com", "localhost", "127.0.0.1"),
        created_at=now,
        updated_at=now,
        # The demo uses plain HTTP, over which browsers send no secure cookies.
        options={"secure_cookies": False, "default_country": "US"},
    )


def _integration(now: float) -> Integration:
    return Integration(
        id=f"int_{secrets.token_hex(8)}",
        source_id=_SOURCE_ID,
        vendor="pinterest",
        name="Demo: the sandbox",
        enabled=True,
        ad_account_id=_AD_ACCOUNT_ID,
        config={"ad_account_id": _AD_ACCOUNT_ID, "field_mapping": "signal"},
        consent_categories=("advertising",),
        created_at=now,
        updated_at=now,
    )


_READY_SECONDS = 60.0
_WALKED = "demo_walk"

# The state folder remembers the orders of earlier runs, and an order counts once.
_ORDER_NUMBER = "".join(secrets.choice(string.ascii_uppercase) for _ in range(8))
_PAGE = "https://example.com/p?epik=epik_abc123def456"
_ORDER = {
    "order_id": f"{_ORDER_NUMBER}-1",
    "total": 129.99,
    "currency": "USD",
    "products": [
        {"product_id": "SKU-A", "name": "Widget", "price": 49.99, "quantity": 2},
        {"product_id": "SKU-B", "name": "Gadget", "price": 30.01, "quantity": 1},
    ],
}
_WIDGET = {"product_id": "SKU-A", "name": "Widget", "price": 49.99, "currency": "USD"}

# One call for each row of the documentation's event table, in the order of a visit.
_WALK: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/p", {}),
    ("/v1/i", {"traits": {"email": "john.doe@example.com"}}),
    ("/v1/t", {"event": "Signed Up"}),
    ("/v1/t", {"event": "Products Searched", "properties": {"query": "lamp"}}),
    ("/v1/t", {"event": "Product Viewed", "properties": _WIDGET}),
    ("/v1/t", {"event": "Product Added", "properties": _WIDGET | {"quantity": 2}}),
    ("/v1/t", {"event": "Order Completed", "properties": _ORDER}),
    ("/v1/t", {"event": "Product Purchased", "properties": _ORDER | {"order_id": f"{_ORDER_NUMBER}-2"}}),
    ("/v1/t", {"event": "Lead Generation", "properties": {"lead_type": "newsletter"}}),
    ("/v1/t", {"event": "Newsletter Opened", "properties": {"edition": 7}}),
)

_VISITOR_HEADERS = {
    "User-Agent": "Mozilla/5.0 ...",
    "X-Forwarded-For": "203.0.113.50",
    "Cookie": "_pin_unauth=a1b2c3d4-e5f6-7890-abcd-ef1234567890; _dfid=6f1d7f0e-3c1c-4a50-8a36-0d2f4f9a7b11",
}


def run_demo(ledger: Ledger, settings: Settings, sandbox_url: str) -> None:
    """Send the walk in a new state folder, then print a line for each delivery until a signal stops this."""
    _wait_until_ready(settings)
    with ledger.read() as connection:
        key = sources.valid_pipeline_keys(connection, _SOURCE_ID, time.time())[0]
        seen = find_deliveries.newest_delivery_id(connection)
    is_new = _may_walk(ledger)
    if is_new:
        _walk(settings.collector_url, key)
    print(_where_to_look(settings, sandbox_url, key, is_new=is_new), flush=True)
    for delivery in follow_deliveries(Caller(ledger, "demo", time.time()), seen):
        print(_line(delivery), flush=True)


def _may_walk(ledger: Ledger) -> bool:
    """Return whether the walk is still to be sent: once, and only while the demo's own integration gets it."""
    with ledger.write() as connection:
        _, walked_at = watermarks.read_watermark(connection, _WALKED)
        rows = integrations.iterate_integrations(connection)
        accounts = {
            integration.ad_account_id
            for integration in rows
            if integration.enabled and integration.source_id == _SOURCE_ID
        }
        if walked_at or accounts != {_AD_ACCOUNT_ID}:
            return False
        watermarks.set_watermark(connection, _WALKED, 1, time.time())
    return True


def _walk(collector_url: str, key: str) -> None:
    """Send every call of the walk, with consent to advertising."""
    with requests.Session() as session:
        session.headers.update(_VISITOR_HEADERS | {"Authorization": f"Bearer {key}"})
        for path, call in _WALK:
            context = {"page": {"url": _PAGE}, "consent": {"advertising": True}}
            answer = session.post(f"{collector_url}{path}", json=call | {"context": context}, timeout=15)
            answer.raise_for_status()


def _line(delivery: FoundDelivery) -> str:
    duration = f" in {delivery.ended_at - delivery.accepted_at:.2f} s" if delivery.ended_at else ""
    name = f"{delivery.source_name or 'page'} → {delivery.event_name}"
    reason = f": {delivery.reason}" if delivery.reason else ""
    return f"{delivery.state:<9} {name:<38} to ad account {delivery.ad_account_id}{duration}{reason}"


def _wait_until_ready(settings: Settings) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    for url in (f"{settings.collector_url}/healthz", f"{settings.management_url}/healthz"):
        while not _is_ready(url):
            if time.monotonic() > deadline:
                sys.exit(f"{url} did not answer within {_READY_SECONDS:.0f} s.")
            time.sleep(0.1)


def _is_ready(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _where_to_look(settings: Settings, sandbox_url: str, key: str, *, is_new: bool) -> str:
    user = settings.flower_basic_auth.split(",")[0]
    first = "A visitor's walk through a shop was just sent; its" if is_new else "New"
    return f"""
The stack is running. {first} deliveries follow below.
  Management UI              {settings.management_url}/   sign in with your token
  What the sandbox received  {sandbox_url}/
  A sample shop to click in  {sandbox_url}/shop
  Management API (Swagger)   {settings.management_url}/v1/admin/docs   any user, your token as password
  Flower                     {settings.flower_url}/   user:password {user}
  Your token                 {settings.admin_token}
  Your pipeline key          {key}
Ctrl-C stops everything, the broker last. Nothing is lost: the next run goes on from here.
"""
