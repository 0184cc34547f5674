from ipaddress import ip_network
from typing import Any

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from tests.collector.conftest import Collector
from worker.collector.request_context import ClientInfo, _channel_of


def library(name: Any) -> dict[str, Any]:
    return {"context": {"library": {"name": name}}}


@pytest.mark.parametrize(
    ("event", "signed", "is_browser", "expected"),
    [
        ({}, True, False, "server"),
        (library("datafly.js"), True, False, "server"),
        ({}, False, False, "browser"),
        ({}, False, True, "browser"),
        (library("server"), False, False, "server"),
        (library("shop-server"), False, False, "server"),
        # A script in a page cannot make itself a server.
        (library("server"), False, True, "browser"),
        (library("datafly.js"), False, False, "browser"),
        (library(7), False, False, "browser"),
        ({"context": {"library": "server"}}, False, False, "browser"),
        ({"context": None}, False, False, "browser"),
    ],
)
def test_a_key_is_a_browser_s_unless_a_server_says_so(
    event: dict[str, Any], signed: bool, is_browser: bool, expected: str
) -> None:
    assert _channel_of(event, signed=signed, is_browser=is_browser) == expected


CONTEXT = {"ip": "198.51.100.7", "userAgent": "Mozilla/5.0 (phone)"}
BEHIND_PROXY = {"REMOTE_ADDR": "10.0.0.1"}


def test_a_browser_s_address_and_agent_come_from_the_request(collector: Collector) -> None:
    headers = {"User-Agent": "Mozilla/5.0 ...", "X-Forwarded-For": "1.2.3.4, 203.0.113.50"}
    collector.send("/v1/p", {"context": CONTEXT}, headers=headers, environ_base=BEHIND_PROXY)
    received = collector.kept()[0].received
    assert (received["ch"], received["ip"], received["ua"]) == ("b", "203.0.113.50", "Mozilla/5.0 ...")


def test_a_stranger_cannot_forge_its_address(collector: Collector) -> None:
    environ = {"REMOTE_ADDR": "203.0.113.9"}
    collector.send("/v1/p", {}, headers={"X-Forwarded-For": "1.2.3.4"}, environ_base=environ)
    assert collector.kept()[0].received["ip"] == "203.0.113.9"


def test_a_server_s_address_and_agent_come_from_the_context(collector: Collector) -> None:
    collector.send_signed("/v1/events", {"type": "page", "context": CONTEXT})
    received = collector.kept()[0].received
    expected = {"ch": "s", "at": collector.clock(), "ip": "198.51.100.7", "ua": "Mozilla/5.0 (phone)"}
    assert received == expected


@pytest.mark.parametrize("context", [None, {}, {"ip": "localhost", "userAgent": []}, {"ip": 7}])
def test_a_server_that_knows_neither_leaves_both_out(collector: Collector, context: Any) -> None:
    collector.send_signed("/v1/events", {"type": "page", "context": context})
    assert collector.kept()[0].received == {"ch": "s", "at": collector.clock()}


def test_a_server_may_use_the_pipeline_key(collector: Collector) -> None:
    event = {"type": "page", "context": CONTEXT | {"library": {"name": "shop-server"}}}
    response = collector.send("/v1/batch", {"batch": [event]})
    received = collector.kept()[0].received
    assert (received["ch"], received["ip"]) == ("s", "198.51.100.7")
    assert response.headers.getlist("Set-Cookie") == []


@pytest.mark.parametrize(
    ("remote", "forwarded", "expected"),
    [
        ("127.0.0.1", "", "203.0.113.50"),
        ("::1", "", "203.0.113.50"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("192.168.1.9", "", "192.168.1.9"),
    ],
)
def test_a_trials_address_stands_for_clients_on_this_machine(
    remote: str, forwarded: str, expected: str
) -> None:
    request = Request(
        EnvironBuilder(
            headers={"X-Forwarded-For": forwarded} if forwarded else {}, environ_base={"REMOTE_ADDR": remote}
        ).get_environ()
    )
    trusted = (ip_network("127.0.0.1"),)
    assert ClientInfo.of(request, trusted, "203.0.113.50").ip == expected
