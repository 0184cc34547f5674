"""Everything received is counted without a limit, and stored up to limits."""

import json
from typing import Any

import pytest

from tests.dev.sandbox.samples import event, events
from worker.dev.sandbox.received_events import Arrival, Bounds, Memory, _Window, token_fingerprint


def arrival(at: float = 1.0, account: str = "1", **changes: Any) -> Arrival:
    usual = Arrival(at, account, False, "abc", 200, None, 1, 1, ("evt_1",))
    return usual._replace(**changes)


def ids(memory: Memory) -> list[dict[str, object]]:
    return [json.loads(line) for part in memory.id_lines() for line in part.splitlines()]


def test_counts_copies_by_event_id_and_name_and_account() -> None:
    """An id is a copy only under the same name and account."""
    memory = Memory()
    memory.accept(arrival(), [event("a"), event("a"), event("a"), event("a", event_name="lead")], 100)
    memory.accept(arrival(account="2"), [event("a")], 100)
    summary = memory.summary()
    assert (summary["unique_ids"], summary["repeated_ids"], summary["extra_copies"]) == (3, 1, 2)
    assert summary["counts"] == {"1": {"page_visit": 3, "lead": 1}, "2": {"page_visit": 1}}
    assert ids(memory)[0] == {"account": "1", "event_id": "a", "event_name": "page_visit", "copies": 3}


def test_counts_test_events_apart() -> None:
    memory = Memory()
    memory.accept(arrival(test=True), events(2), 100)
    summary = memory.summary()
    assert (summary["accepted"], summary["tested"], summary["unique_ids"]) == (0, 2, 0)


def test_keeps_the_newest_events_in_full() -> None:
    memory = Memory(Bounds(events=3))
    for n in range(5):
        memory.accept(arrival(at=float(n)), [event(f"evt_{n}")], 100)
    last = memory.last_events(account=None, event_id=None, event_name=None, limit=10)
    assert [kept["event"]["event_id"] for kept in last] == ["evt_2", "evt_3", "evt_4"]
    assert memory.summary()["accepted"] == 5


def test_keeps_no_more_than_its_bytes() -> None:
    memory = Memory(Bounds(event_bytes=1_000))
    for n in range(5):
        memory.accept(arrival(), [event(f"evt_{n}")], 400)
    last = memory.last_events(account=None, event_id=None, event_name=None, limit=10)
    assert [kept["event"]["event_id"] for kept in last] == ["evt_3", "evt_4"]


@pytest.mark.parametrize("bounds", [Bounds(events=0), Bounds(event_bytes=0)])
def test_may_keep_no_events_at_all(bounds: Bounds) -> None:
    memory = Memory(bounds)
    memory.accept(arrival(), events(2), 100)
    assert memory.last_events(account=None, event_id=None, event_name=None, limit=10) == []


def test_forgets_ids_beyond_its_bound_but_says_so() -> None:
    memory = Memory(Bounds(ids=3))
    memory.accept(arrival(), events(5), 100)
    memory.accept(arrival(), events(5), 100)
    summary = memory.summary()
    assert (summary["unique_ids"], summary["extra_copies"], summary["ids_not_kept"]) == (3, 3, 4)


def test_keeps_long_ids_as_digests() -> None:
    memory = Memory()
    memory.accept(arrival(), [event("x" * 1_000 + "\ud800")], 100)
    assert [len(str(line["event_id"])) for line in ids(memory)] == [71]


def test_puts_accounts_beyond_its_bound_together() -> None:
    memory = Memory(Bounds(accounts=2))
    for account in ("1", "2", "3", "4", "1"):
        memory.note(arrival(account=account))
    assert {name: rate["requests"] for name, rate in memory.rates().items()} == {"1": 2, "2": 1, "others": 2}


def test_keeps_the_newest_requests() -> None:
    memory = Memory(Bounds(requests=2))
    for at in (1.0, 2.0, 3.0):
        memory.note(arrival(at=at))
    assert [kept["at"] for kept in memory.arrivals(None, 10)] == [2.0, 3.0]
    assert [kept["at"] for kept in memory.arrivals("1", 1)] == [3.0]
    assert memory.arrivals("2", 10) == []


def test_counts_faults_beside_statuses() -> None:
    memory = Memory()
    memory.note(arrival(status=None, fault="cut"))
    memory.note(arrival(fault="truncate"))
    summary = memory.summary()
    assert (summary["statuses"], summary["faults"]) == ({"200": 1}, {"cut": 1, "truncate": 1})


@pytest.mark.parametrize(
    ("times", "most"),
    [
        ([], 0),
        ([0.0, 0.5, 0.999], 3),
        ([0.0, 1.0, 2.0], 1),  # a window holds its beginning and not its end
        ([0.0, 0.6, 1.1, 1.5, 3.0], 3),
    ],
)
def test_finds_the_fullest_second(times: list[float], most: int) -> None:
    window = _Window(1.0)
    for at in times:
        window.add(at)
    assert window.most == most


def test_ids_can_be_listed_while_more_arrive() -> None:
    memory = Memory()
    memory.accept(arrival(), events(1_500), 100)
    parts = memory.id_lines()
    first = next(parts)
    memory.accept(arrival(), [event("later"), event("evt_0")], 100)
    assert len(first.splitlines()) + sum(len(part.splitlines()) for part in parts) == 1_500


def test_a_fingerprint_does_not_tell_the_token() -> None:
    assert (
        token_fingerprint("pina_secret")
        == token_fingerprint("pina_secret")
        != token_fingerprint("pina_other")
    )
    assert "secret" not in token_fingerprint("pina_secret")
