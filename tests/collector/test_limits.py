from pathlib import Path

import pytest

from tests.collector.conftest import NOW, SOURCE, Clock, Collector
from worker.collector.errors import RefusedError
from worker.collector.limits import LEAST_FREE_BYTES, Backlog, RequestRate, Room
from worker.ledger.engine import Ledger


def is_let_through(rate: RequestRate, caller: str) -> bool:
    try:
        rate.spend(caller)
    except RefusedError:
        return False
    return True


def test_a_caller_has_a_second_s_worth_and_then_its_rate() -> None:
    clock = Clock()
    rate = RequestRate(clock, per_second=10)
    assert [is_let_through(rate, "a") for _ in range(12)] == [True] * 10 + [False] * 2
    clock.at += 0.35
    assert [is_let_through(rate, "a") for _ in range(4)] == [True] * 3 + [False]


def test_refused_requests_cost_nothing() -> None:
    clock = Clock()
    rate = RequestRate(clock, per_second=1)
    rate.spend("a")
    for _ in range(100):
        assert not is_let_through(rate, "a")
    clock.at += 1
    assert is_let_through(rate, "a")


def test_callers_do_not_share() -> None:
    rate = RequestRate(Clock(), per_second=1)
    assert [is_let_through(rate, caller) for caller in ("a", "b", "a", "b")] == [True, True, False, False]


def test_a_clock_that_was_set_back_takes_nothing_away() -> None:
    clock = Clock()
    rate = RequestRate(clock, per_second=2)
    rate.spend("a")
    clock.at -= 3600
    assert is_let_through(rate, "a")


def test_the_quietest_callers_are_forgotten() -> None:
    rate = RequestRate(Clock(), per_second=1, most_callers=2)
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
    message = "This key may make 1000 requests a second; send this again later."
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
    message = "Too many events of this source wait to be worked on; send this later."
    assert response.json == {"success": False, "error": {"code": "BACKLOG_FULL", "message": message}}
    assert len(collector.kept()) == 5


def test_one_request_counts_while_the_others_go_by_the_last_number() -> None:
    clock = Clock()
    counted: list[int] = []

    def count(source_id: str) -> int:
        # Asked meanwhile, as another thread would ask.
        counted.append(backlog.of(source_id) if len(counted) < 3 else -1)
        return 7

    backlog = Backlog(count, clock)
    assert backlog.of("src") == 7
    clock.at += 2
    assert backlog.of("src") == 7
    assert counted == [0, 7]


def test_a_count_that_takes_long_is_not_made_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ticks = Clock(), iter((0.0, 0.5, 9.0, 9.1))
    monkeypatch.setattr("worker.collector.limits.time.monotonic", lambda: next(ticks))
    counts = iter((1, 2))
    backlog = Backlog(lambda _: next(counts), clock)
    seen = []
    for moment in (0, 9.4, 9.6):
        clock.at = NOW + moment
        seen.append(backlog.of("src"))
    assert seen == [1, 1, 2]


def test_a_clock_that_was_set_back_puts_no_count_off() -> None:
    clock, counts = Clock(), iter((1, 2))
    backlog = Backlog(lambda _: next(counts), clock)
    backlog.of("src")
    clock.at -= 3600
    assert backlog.of("src") == 2


@pytest.mark.parametrize(("free_bytes", "is_refused"), [(0, True), (LEAST_FREE_BYTES, False)])
def test_a_nearly_full_disk_takes_nothing_more(
    ledger: Ledger, tmp_path: Path, free_bytes: int, is_refused: bool
) -> None:
    room = Room(ledger, tmp_path, Clock(), free_bytes=lambda _: free_bytes)
    if not is_refused:
        room.check(SOURCE)
        return
    with pytest.raises(RefusedError, match="The disk is nearly full") as caught:
        room.check(SOURCE)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_seconds) == (
        503,
        "DISK_FULL",
        60,
    )


def test_the_disk_is_not_looked_at_for_each_request(ledger: Ledger, tmp_path: Path) -> None:
    looks: list[Path] = []
    clock = Clock()
    room = Room(ledger, tmp_path, clock, free_bytes=lambda path: looks.append(path) or LEAST_FREE_BYTES)
    for moment in (0, 1.9, 2.0):
        clock.at = NOW + moment
        room.check(SOURCE)
    assert looks == [tmp_path, tmp_path]
