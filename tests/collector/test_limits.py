import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.collector.conftest import KEY, NOW, SOURCE, Clock, Collector, Hints
from worker.collector.error_responses import RefusedError
from worker.collector.limits import _LEAST_FREE_BYTES, AdmissionControl, _Backlog, _RateLimit
from worker.collector.wsgi import create_app
from worker.event.received import Trust
from worker.ledger.database import Ledger, LedgerBusyError
from worker.settings import parse


def is_let_through(rate: _RateLimit, caller: str) -> bool:
    try:
        rate.spend(caller)
    except RefusedError:
        return False
    return True


def test_a_caller_has_a_second_s_worth_and_then_its_rate() -> None:
    clock = Clock()
    rate = _RateLimit(clock, 10, "This key")
    assert [is_let_through(rate, "a") for _ in range(12)] == [True] * 10 + [False] * 2
    clock.at += 0.35
    assert [is_let_through(rate, "a") for _ in range(4)] == [True] * 3 + [False]


def test_refused_requests_cost_nothing() -> None:
    clock = Clock()
    rate = _RateLimit(clock, 1, "This key")
    rate.spend("a")
    for _ in range(100):
        assert not is_let_through(rate, "a")
    clock.at += 1
    assert is_let_through(rate, "a")


def test_callers_do_not_share() -> None:
    rate = _RateLimit(Clock(), 1, "This key")
    assert [is_let_through(rate, caller) for caller in ("a", "b", "a", "b")] == [True, True, False, False]


def test_a_clock_that_was_set_back_takes_nothing_away() -> None:
    clock = Clock()
    rate = _RateLimit(clock, 2, "This key")
    rate.spend("a")
    clock.at -= 3600
    assert is_let_through(rate, "a")


def test_the_quietest_callers_are_forgotten() -> None:
    rate = _RateLimit(Clock(), 1, "This key", most_callers=2)
    for caller in ("a", "b", "c"):
        rate.spend(caller)
    assert [is_let_through(rate, caller) for caller in ("c", "a")] == [False, True]


def test_too_many_requests_are_told_when_to_come_again(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = {collector.send("/v1/p", "no JSON").status_code for _ in range(1000)}
    response = collector.send("/v1/p", {})
    assert statuses == {400}
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "1"
    message = "This key is limited to 1000 requests a second; send this again later."
    assert response.json == {"success": False, "error": {"code": "RATE_LIMITED", "message": message}}


def test_a_source_may_pile_up_only_so_much(collector: Collector) -> None:
    collector.change_source(backlog_limit=3)
    assert collector.send("/v1/batch", {"batch": [{"type": "page"}] * 4}).status_code == 200
    # The count may be two seconds old.
    assert collector.send("/v1/p", {}).status_code == 200
    collector.clock.at += 2
    response = collector.send("/v1/p", {})
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "30"
    message = "Too many events of this source wait to be processed. Send this again later."
    assert response.json == {"success": False, "error": {"code": "BACKLOG_FULL", "message": message}}
    assert len(collector.kept()) == 5


def test_one_request_counts_while_the_others_go_by_the_last_number() -> None:
    clock = Clock()
    counted: list[int] = []

    def count(source_id: str) -> dict[Trust, int]:
        # Asked meanwhile, as another thread would ask.
        counted.append(backlog.of(source_id, Trust.PUBLIC) if len(counted) < 3 else -1)
        return {Trust.PUBLIC: 7}

    backlog = _Backlog(count, clock)
    assert backlog.of("src", Trust.PUBLIC) == 7
    clock.at += 2
    assert backlog.of("src", Trust.PUBLIC) == 7
    assert counted == [0, 7]


def test_a_count_that_takes_long_is_not_made_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ticks = Clock(), iter((0.0, 0.5, 9.0, 9.1))
    monkeypatch.setattr("worker.collector.limits.time.monotonic", lambda: next(ticks))
    counts = iter((1, 2))
    backlog = _Backlog(lambda _: {Trust.PUBLIC: next(counts)}, clock)
    seen = []
    for moment in (0, 9.4, 9.6):
        clock.at = NOW + moment
        seen.append(backlog.of("src", Trust.PUBLIC))
    assert seen == [1, 1, 2]


def test_in_an_outage_the_last_count_counts() -> None:
    clock = Clock()
    counts: Iterator[int | Exception] = iter((7, LedgerBusyError("away")))

    def count(_: str) -> dict[Trust, int]:
        found = next(counts)
        if isinstance(found, Exception):
            raise found
        return {Trust.PUBLIC: found}

    backlog = _Backlog(count, clock)
    backlog.of("src", Trust.PUBLIC)
    clock.at += 60
    assert backlog.of("src", Trust.PUBLIC) == 7


def test_a_clock_that_was_set_back_puts_no_count_off() -> None:
    clock, counts = Clock(), iter((1, 2))
    backlog = _Backlog(lambda _: {Trust.PUBLIC: next(counts)}, clock)
    backlog.of("src", Trust.PUBLIC)
    clock.at -= 3600
    assert backlog.of("src", Trust.PUBLIC) == 2


@pytest.mark.parametrize(
    ("free_bytes", "trust", "is_refused"),
    [
        (0, Trust.SIGNED, True),
        (_LEAST_FREE_BYTES[Trust.SIGNED], Trust.SIGNED, False),
        # What is left then is for signed events.
        (_LEAST_FREE_BYTES[Trust.SIGNED], Trust.PUBLIC, True),
        (_LEAST_FREE_BYTES[Trust.PUBLIC] - 1, Trust.PUBLIC, True),
        (_LEAST_FREE_BYTES[Trust.PUBLIC], Trust.PUBLIC, False),
    ],
)
def test_a_nearly_full_disk_refuses_public_events_before_signed_ones(
    ledger: Ledger, tmp_path: Path, free_bytes: int, trust: Trust, is_refused: bool
) -> None:
    room = AdmissionControl(ledger, tmp_path, Clock(), free_bytes=lambda _: free_bytes)
    if not is_refused:
        room.check(SOURCE, trust)
        return
    with pytest.raises(RefusedError, match="The disk is nearly full") as caught:
        room.check(SOURCE, trust)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_seconds) == (
        503,
        "DISK_FULL",
        60,
    )


def test_the_disk_is_not_looked_at_for_each_request(ledger: Ledger, tmp_path: Path) -> None:
    looks: list[Path] = []
    clock = Clock()
    room = AdmissionControl(ledger, tmp_path, clock, free_bytes=lambda path: looks.append(path) or 2**40)
    for moment in (0, 1.9, 2.0):
        clock.at = NOW + moment
        room.check(SOURCE)
    assert looks == [tmp_path, tmp_path]


def test_a_call_may_take_more_than_the_burst_and_pays_it_back() -> None:
    clock = Clock()
    rate = _RateLimit(clock, 10, "This key")
    rate.spend("a", 50, "events")
    with pytest.raises(RefusedError, match="This key is limited to 10 events a second") as caught:
        rate.spend("a", 1, "events")
    assert caught.value.retry_after_seconds == 5
    clock.at += 4
    assert not is_let_through(rate, "a")
    clock.at += 0.2
    assert is_let_through(rate, "a")


def limited(ledger: Ledger, tmp_path: Path, **settings: str) -> Collector:
    given = {"SIGNAL_VAR": str(tmp_path), "TRUSTED_PROXIES": "127.0.0.1"} | settings
    clock, hints = Clock(), Hints()
    return Collector(create_app(ledger, parse(given), hints, clock), ledger, clock, hints)


def page_from(collector: Collector, address: str, **options: Any) -> int:
    """Send a page view through the trusted proxy; return the status."""
    headers = {"X-Forwarded-For": address} | options.pop("headers", {})
    return collector.send(options.pop("path", "/v1/p"), options.pop("body", {}), headers=headers).status_code


def test_a_public_flood_up_to_its_bound_refuses_no_signed_order(collector: Collector) -> None:
    collector.change_source(backlog_limit=20)
    assert collector.send("/v1/batch", {"batch": [{"type": "page"}] * 40}).status_code == 200
    collector.clock.at += 2
    assert collector.send("/v1/p", {}).status_code == 503
    assert (
        collector.send_signed("/v1/events", {"type": "track", "event": "Order Completed"}).status_code == 200
    )
    signed = collector.send_signed("/v1/batch", {"batch": [{"type": "page"}] * 30})
    collector.clock.at += 2
    assert signed.status_code == 200
    assert collector.send_signed("/v1/events", {"type": "page"}).status_code == 503


def test_public_events_may_have_a_bound_of_their_own(collector: Collector) -> None:
    collector.change_source(backlog_limit=20, public_backlog_limit=2)
    collector.send("/v1/batch", {"batch": [{"type": "page"}] * 2})
    collector.send_signed("/v1/batch", {"batch": [{"type": "page"}] * 10})
    collector.clock.at += 2
    assert collector.send("/v1/p", {}).status_code == 503
    assert collector.send_signed("/v1/events", {"type": "page"}).status_code == 200


def test_an_address_is_limited_and_others_are_not(ledger: Ledger, tmp_path: Path) -> None:
    collector = limited(ledger, tmp_path, ADDRESS_REQUESTS_PER_SECOND="3")
    assert [page_from(collector, "198.51.100.7") for _ in range(5)] == [200] * 3 + [429] * 2
    assert page_from(collector, "198.51.100.8") == 200
    collector.clock.at += 1
    assert page_from(collector, "198.51.100.7") == 200


def test_an_ipv6_line_is_one_address(ledger: Ledger, tmp_path: Path) -> None:
    collector = limited(ledger, tmp_path, ADDRESS_REQUESTS_PER_SECOND="3")
    mine = ["2a02:8071:1:2::1", "2a02:8071:1:2:ffff::9", "[2a02:8071:1:2:1:2:3:4]:4711", "2a02:8071:1:2::5"]
    assert [page_from(collector, address) for address in mine] == [200, 200, 200, 429]
    assert page_from(collector, "2a02:8071:1:3::1") == 200


def test_a_header_of_an_untrusted_caller_makes_no_other_address(ledger: Ledger, tmp_path: Path) -> None:
    collector = limited(ledger, tmp_path, ADDRESS_REQUESTS_PER_SECOND="3")
    told = [f"198.51.100.{number}, 198.51.100.200" for number in range(5)]
    assert [page_from(collector, address) for address in told] == [200] * 3 + [429] * 2


def test_the_events_of_a_batch_count_each(ledger: Ledger, tmp_path: Path) -> None:
    collector = limited(ledger, tmp_path, ADDRESS_EVENTS_PER_SECOND="100")
    batch = {"path": "/v1/batch", "body": {"batch": [{"type": "page"}] * 90}}
    statuses = [page_from(collector, "198.51.100.7", **dict(batch)) for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert page_from(collector, "198.51.100.8") == 200
    assert len(collector.kept()) == 181


@pytest.mark.parametrize("path", ["/v1/p", "/v1/page"])
def test_a_large_event_counts_as_many_small_ones_before_it_is_parsed(
    ledger: Ledger, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = limited(ledger, tmp_path, ADDRESS_EVENTS_PER_SECOND="100")
    parsed: list[int] = []
    monkeypatch.setattr(
        "worker.collector.gateway.decode_json",
        lambda body: parsed.append(len(body)) or {"type": "page", "writeKey": KEY},
    )
    packed = gzip.compress(json.dumps({"properties": {"x": "y" * 500_000}}).encode())
    headers = {"X-Forwarded-For": "198.51.100.7", "Content-Encoding": "gzip"}
    key = KEY if path == "/v1/p" else None
    answers = [collector.send(path, packed, key=key, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert len(parsed) == 1
    # 122 events of 4 KB: 100 of the burst, and the rest in another second.
    collector.clock.at += 1
    assert page_from(collector, "198.51.100.7") == 200


def test_a_key_is_limited_in_events_and_signed_calls_apart_from_it(ledger: Ledger, tmp_path: Path) -> None:
    collector = limited(
        ledger,
        tmp_path,
        PUBLIC_EVENTS_PER_SECOND="10",
        PUBLIC_REQUESTS_PER_SECOND="20",
        SIGNED_EVENTS_PER_SECOND="30",
    )
    batch = {"batch": [{"type": "page"}] * 10}
    answers = [collector.send("/v1/batch", batch) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["Retry-After"] == "1"
    assert answers[1].json is not None
    message = "This key is limited to 10 events a second; send this again later."
    assert answers[1].json["error"] == {"code": "RATE_LIMITED", "message": message}
    signed = [collector.send_signed("/v1/batch", batch, stamp=str(int(NOW * 1000) + n)) for n in range(5)]
    assert [answer.status_code for answer in signed] == [200, 200, 200, 429, 429]
    assert signed[3].json is not None
    assert signed[3].json["error"]["message"].startswith("This source is limited to 30 events a second")


def test_a_stranger_without_a_key_is_limited_before_the_key_is_looked_up(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = limited(ledger, tmp_path, ADDRESS_REQUESTS_PER_SECOND="3")
    looked_up: list[str] = []
    monkeypatch.setattr("worker.ledger.setup.sources.source_of_key", lambda _, key, __: looked_up.append(key))
    headers = {"X-Forwarded-For": "198.51.100.7"}
    keys = [f"dk_live_guess{number}" for number in range(6)]
    statuses = [collector.send("/v1/p", {}, key=key, headers=headers).status_code for key in keys]
    assert statuses == [401] * 3 + [429] * 3
    assert looked_up == keys[:3]


def test_wrong_signatures_use_up_no_right_one_s_rate(ledger: Ledger, tmp_path: Path) -> None:
    collector = limited(ledger, tmp_path, ADDRESS_REQUESTS_PER_SECOND="3", SIGNED_REQUESTS_PER_SECOND="5")
    forged = {
        "X-Forwarded-For": "198.51.100.7",
        "X-Source-Id": SOURCE.id,
        "X-Timestamp": str(int(NOW * 1000)),
    }
    forged["X-Signature"] = "sha256=" + "0" * 64
    statuses = [collector.send("/v1/events", {}, key=None, headers=forged).status_code for _ in range(6)]
    assert statuses == [401] * 3 + [429] * 3
    good = [collector.send_signed("/v1/events", {"type": "page", "name": str(n)}) for n in range(6)]
    assert [answer.status_code for answer in good] == [200] * 5 + [429]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "192.168.1.2", "fd00::1", "::1", "no address"])
def test_local_networks_stand_for_many_clients(ledger: Ledger, tmp_path: Path, address: str) -> None:
    """A proxy that TRUSTED_PROXIES lacks must not make all visitors one."""
    collector = limited(ledger, tmp_path, ADDRESS_REQUESTS_PER_SECOND="2")
    assert [page_from(collector, address) for _ in range(5)] == [200] * 5


def test_the_limits_by_address_can_be_switched_off(ledger: Ledger, tmp_path: Path) -> None:
    collector = limited(ledger, tmp_path, ADDRESS_REQUESTS_PER_SECOND="0", ADDRESS_EVENTS_PER_SECOND="0")
    assert {page_from(collector, "198.51.100.7") for _ in range(250)} == {200}


def test_an_office_behind_one_address_is_let_through(ledger: Ledger, tmp_path: Path) -> None:
    """Two hundred people who each open a page in the same second."""
    collector = limited(ledger, tmp_path)
    assert {page_from(collector, "198.51.100.7") for _ in range(200)} == {200}
