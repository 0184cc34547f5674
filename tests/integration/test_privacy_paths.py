"""Forms, commands, malformed requests and Pinterest's messages reveal no personal data and no tokens."""

import json
import re
import socket
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests

from tests.integration.canary import (
    EMAIL,
    PHONE,
    TOKEN,
    TRAITS,
    VISITOR,
    assert_nothing_is_kept,
    context_of,
    found_in,
)
from tests.integration.conftest import EMBEDDED
from tests.integration.shop import Shop
from tests.integration.stack import Stack
from tests.integration.waiting import until

# None of it depends on the broker or the database.
pytestmark = EMBEDDED

TOLD = f"user {EMAIL}, phone {PHONE}, at {VISITOR.ip} with Bearer {TOKEN}"


def _raw(url: str, text: str) -> bytes:
    """Send bytes that are not HTTP; return the response."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as wire:
        wire.sendall(text.encode())
        wire.shutdown(socket.SHUT_WR)
        got = b""
        while more := wire.recv(65536):
            got += more
        return got


def test_requests_that_are_no_http_are_refused_and_quoted_nowhere(stack: Stack) -> None:
    broken = (
        f"GET /v1/t?email={EMAIL} HTTP/9.9\r\n\r\n",
        f"{EMAIL} {TOKEN}\r\n\r\n",
        f"POST /v1/t?key={TOKEN} HTTP/1.1\r\nHost: x\r\n{EMAIL}\r\n\r\n",
        f"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: {EMAIL}\r\n\r\n",
    )
    for url in (stack.collector_url, stack.management_url):
        for text in broken:
            answer = _raw(url, text)
            assert answer.startswith(b"HTTP/1.1 4"), answer
            assert (text, []) == (text, found_in(answer))
    for name in ("collector", "management"):
        lines = [json.loads(line) for line in stack.log(name).splitlines()]
        told = [line["status"] for line in lines if line["event"] == "request_unreadable"]
        # Of each status one a second.
        assert (name, set(told)) == (name, {400})
    assert_nothing_is_kept(stack)


# Pinterest's response, and the resulting state of the event.
SAID: tuple[tuple[dict[str, object], str], ...] = (
    ({"status": 401, "code": 2, "message": TOLD}, "in_flight"),
    ({"status": 200, "body": TOLD}, "failed"),
    ({"warn_events": {"warning_message": TOLD, "positions": [0]}}, "delivered"),
    ({"fail_events": {"error_message": TOLD, "positions": [0]}}, "failed"),
)


def test_pinterests_own_words_are_masked_wherever_they_show(stack: Stack) -> None:
    shops = [Shop(stack, access_token=TOKEN) for _ in SAID]
    rules = [{"account": shop.account} | rule for shop, (rule, _) in zip(shops, SAID, strict=True)]
    stack.sandbox.behave({"rules": rules})
    event = {"userId": "customer-of-the-canary", "context": context_of()}
    for shop in shops:
        assert shop.post("/v1/p", event, VISITOR).status_code == 200
    for shop, (rule, stands) in zip(shops, SAID, strict=True):
        until(f"Pinterest said {rule}", partial(_spoke, shop, stands))

    for path in (
        "/failed",
        "/accounts",
        "/audit",
        *(f"/integrations/{shop.integration_id}" for shop in shops),
    ):
        assert (path, []) == (path, found_in(json.dumps(stack.admin("GET", path)).encode()))
    for arguments in (("failed", "list"), ("accounts", "list"), ("books",)):
        done = stack.command(*arguments)
        assert (arguments, []) == (arguments, found_in((done.stdout + done.stderr).encode()))
    assert_nothing_is_kept(stack)


def _spoke(shop: Shop, stands: str) -> bool:
    if stands != "in_flight":
        return shop.standing()[stands] == 1
    return shop.account in shop.stack.log("delivery") and "account_paused" in shop.stack.log("delivery")


def _csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found, page[:500]
    return found[1]


def test_forms_show_no_token_again_and_write_nothing_down(stack: Stack) -> None:
    shop = Shop(stack)
    with requests.Session() as browser:

        def send(page: str, path: str, **fields: str) -> requests.Response:
            secret = _csrf(browser.get(stack.management_url + page, timeout=15).text)
            return browser.post(stack.management_url + path, data={"csrf": secret} | fields, timeout=15)

        wrong = send("/sign-in", "/sign-in", token=TOKEN)
        assert (wrong.status_code, found_in(wrong.content)) == (401, [])
        assert send("/sign-in", "/sign-in", token=stack.settings.admin_token).status_code == 200
        refused = send(
            "/integrations/add/pinterest",
            "/integrations/add/pinterest",
            source_id=shop.source_id,
            name="Pinterest",
            ad_account_id="no digits",
            access_token=TOKEN,
        )
        assert (refused.status_code, found_in(refused.content)) == (422, [])
        explained = send("/explain", "/explain", event=json.dumps({"type": "identify", "traits": TRAITS}))
        assert explained.status_code in (200, 422)
        for path in ("/search?q=", "/events?q=", "/failed?reason="):
            assert browser.get(stack.management_url + path + EMAIL, timeout=15).status_code in (200, 404)
    assert_nothing_is_kept(stack)


def test_commands_name_the_line_and_the_field_and_not_the_value(stack: Stack, tmp_path: Path) -> None:
    shop = Shop(stack)
    lines = (
        {"event": "", "userId": EMAIL, "traits": TRAITS},
        {"event": "Order Completed", "timestamp": EMAIL},
        {"type": "wave", "properties": TRAITS},
        {"event": "Order Completed", "properties": {"value": EMAIL}, "anonymousId": EMAIL * 20},
    )
    file = tmp_path / "sales.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + f"no json {EMAIL}\n")
    commands = (
        ("send", str(file), "--source", shop.source_id),
        ("find", EMAIL),
        ("find", "ORD-canary-4711"),
        ("erase", "--email", EMAIL, "--external-id", "customer-of-the-canary", "--yes"),
        ("accounts", "pause", EMAIL),
        ("failed", "list", "--class", EMAIL),
    )
    for arguments in commands:
        done = stack.command(*arguments)
        said = (done.stdout + done.stderr).encode()
        if arguments[0] in ("send", "erase"):
            assert (arguments[0], []) == (arguments[0], found_in(said)), said
        # Input may be repeated to the person who typed it, but never with a traceback.
        assert b"Traceback" not in said, said
    assert_nothing_is_kept(stack)
