"""Personal data goes to Pinterest hashed, and appears nowhere else."""

import json
import re
from urllib.parse import quote

import requests

from tests.integration.canary import (
    EMAIL,
    PHONE,
    TOKEN,
    TRAITS,
    VISITOR,
    assert_nothing_is_kept,
    context_of,
    flower_pages,
    found_in,
)
from tests.integration.conftest import EMBEDDED
from tests.integration.shop import Shop
from tests.integration.stack import Stack
from tests.integration.waiting import until


def _send_everything(shop: Shop) -> None:
    """Send personal data on every path, in valid and invalid events."""
    identify = {"userId": "customer-of-the-canary", "traits": TRAITS}
    leaking = context_of(f"https://example.com/account?email={quote(EMAIL)}&phone={quote(PHONE)}")
    order = {"order_id": "ORD-canary-4711", "total": 10, "currency": "EUR", "email": EMAIL}
    for path, call in (
        ("/v1/i", identify | {"context": context_of()}),
        ("/v1/p", {"context": leaking, "userId": "customer-of-the-canary"}),
        ("/v1/t", {"event": "Order Completed", "properties": order, "context": context_of()}),
        ("/v1/t", {"event": "Order Completed", "properties": {"email": EMAIL}, "context": context_of()}),
        ("/v1/t", {"event": "Products Searched", "properties": {"query": EMAIL}, "context": context_of()}),
        ("/v1/g", {"groupId": "g", "traits": TRAITS, "context": context_of()}),
    ):
        assert shop.post(path, call, VISITOR).status_code == 200
    bad = [
        {"type": "wave", "traits": TRAITS},
        {"type": "track", "event": "", "properties": TRAITS},
        {"type": "page", "timestamp": EMAIL, "context": context_of()},
        {"type": "page", "anonymousId": EMAIL * 20},
        {"type": "page", "context": leaking},
    ]
    assert shop.post("/v1/batch", {"batch": bad}, VISITOR).json()["accepted"] == 1
    for path, body in (("/v1/t", bad[1]), ("/v1/i", [TRAITS]), ("/v1/batch", {"batch": TRAITS})):
        assert shop.post(path, body, VISITOR).status_code == 400
    stranger = {"Authorization": f"Bearer {EMAIL}"}
    url = f"{shop.stack.collector_url}/v1/t?email={quote(EMAIL)}"
    assert requests.post(url, json=bad, headers=stranger, timeout=10).status_code == 401


def test_personal_data_shows_in_no_log_in_no_page_of_flower_and_in_no_file(stack: Stack) -> None:
    shop = Shop(stack, access_token=TOKEN, default_country="DE")
    # Pinterest's messages may quote the request.
    quoting = {"error_message": f"user {EMAIL} ({VISITOR.ip}) is wrong", "positions": [0]}
    stack.sandbox.behave({"rules": [{"account": shop.account, "times": 1, "fail_events": quoting}]})
    _send_everything(shop)
    until("all of it has an end", lambda: _ended(shop))
    received = json.dumps([one["event"] for one in stack.sandbox.received(account=shop.account)["last"]])
    # By contract IP address and user agent are sent unhashed, so the canary reached Pinterest.
    assert VISITOR.ip in received
    assert EMAIL not in received
    assert re.search(r'"em": \["[0-9a-f]{64}"\]', received)

    for path, content in flower_pages(stack).items():
        assert (path, []) == (path, found_in(content))
    assert_nothing_is_kept(stack)
    for name in stack.running:
        assert shop.key not in stack.log(name)
    failed = stack.command("failed", "list")
    assert (failed.returncode, []) == (0, found_in(failed.stdout.encode()))


def _ended(shop: Shop) -> bool:
    standing = shop.standing()
    return standing.total() >= 5 and not standing["pending"] + standing["in_flight"]


# Neither this test nor the next one uses a broker.
@EMBEDDED
def test_explaining_prints_no_personal_data_unless_asked(stack: Stack) -> None:
    events = [
        {"type": "identify", "traits": TRAITS, "context": context_of()},
        {
            "type": "track",
            "event": "Products Searched",
            "properties": {"query": EMAIL, "email": EMAIL},
            "context": context_of(f"https://example.com/?email={EMAIL}"),
        },
    ]
    body = json.dumps({"batch": events})
    done = stack.command("explain", "--ip", VISITOR.ip, "--user-agent", VISITOR.user_agent, stdin=body)
    assert (done.returncode, done.stderr) == (0, "")
    assert found_in(done.stdout.encode()) == []


@EMBEDDED
def test_no_refusal_repeats_what_was_sent_nor_writes_it_into_a_log(stack: Stack) -> None:
    # The message may name an unknown field to its sender, but never a value.
    shop = Shop(stack)
    key = {"Authorization": f"Bearer {shop.key}"}
    admin = {"Authorization": f"Bearer {stack.settings.admin_token}"}
    told = f"{EMAIL} {TOKEN}"
    source = {"name": "Shop", "domain": told}
    integration = {
        "source_id": shop.source_id,
        "vendor": told,
        "name": "Pinterest",
        "config": {"ad_account_id": told, "access_token": TOKEN, "test_code": told},
    }
    calls: list[tuple[str, str, dict[str, str], object]] = [
        ("POST", "/v1/t", {"Authorization": f"Bearer {TOKEN}"}, TRAITS),
        ("POST", "/v1/t", {"Authorization": f"Basic {told}"}, TRAITS),
        ("POST", f"/v1/t?key={quote(told)}", {}, TRAITS),
        ("POST", "/v1/events", {"X-Source-Id": EMAIL, "X-Signature": TOKEN, "X-Timestamp": "1"}, TRAITS),
        ("POST", f"/v1/{quote(EMAIL)}", key, TRAITS),
        ("POST", "/v1/batch", key, told),
        ("GET", f"/metrics?token={TOKEN}", {"Authorization": f"Bearer {TOKEN}", "Via": EMAIL}, None),
    ]
    managed: list[tuple[str, str, dict[str, str], object]] = [
        ("GET", "/v1/admin/sources", {"Authorization": f"Bearer {TOKEN}"}, None),
        ("GET", "/metrics", {"X-Forwarded-For": VISITOR.ip}, None),
        ("POST", "/v1/admin/sources", admin, source),
        ("POST", "/v1/admin/integrations", admin, integration),
        ("POST", "/v1/admin/integrations", admin, told),
    ]
    for url, asked in ((stack.collector_url, calls), (stack.management_url, managed)):
        for method, path, headers, body in asked:
            answer = requests.request(method, url + path, json=body, headers=headers, timeout=15)
            assert 400 <= answer.status_code < 500, (method, path, answer.status_code)
            said = answer.content + str(answer.headers).encode()
            assert (method, path, []) == (method, path, found_in(said))
    for name in stack.running:
        assert (name, []) == (name, found_in(stack.log(name).encode()))
