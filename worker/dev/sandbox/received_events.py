"""Store what was received, up to limits."""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

# Longer ids are kept as their digest, so that the bound on ids is a bound on memory too.
LONGEST_KEPT_ID = 128
_OTHER_ACCOUNTS = "others"


@dataclass(frozen=True)
class Bounds:
    """How much is stored. Everything beyond these limits is still counted."""

    events: int = 1_000
    event_bytes: int = 64 << 20
    requests: int = 100_000
    ids: int = 2_000_000
    accounts: int = 10_000


class Arrival(NamedTuple):
    """One request to the events endpoint.

    `at` is when its last byte was read, in Unix seconds. `status` is missing (None) if no response was sent.
    """

    at: float
    account: str
    test: bool
    token: str | None
    status: int | None
    fault: str | None
    events: int
    accepted: int
    first_event_ids: tuple[str, ...]


class _Kept(NamedTuple):
    """The accepted events of one request, in full."""

    arrival: Arrival
    events: list[dict[str, Any]]
    size_bytes: int


class _Window:
    """Find the most arrivals within any stretch of some seconds, exactly, keeping one stretch of times."""

    def __init__(self, seconds: float, keep: int = 1_000_000) -> None:
        self._seconds = seconds
        self._times: deque[float] = deque(maxlen=keep)
        self.most = 0

    def add(self, at: float) -> None:
        """Count an arrival; times must not decrease."""
        times = self._times
        times.append(at)
        while at - times[0] >= self._seconds:
            times.popleft()
        self.most = max(self.most, len(times))


@dataclass
class _Account:
    """What is known of one ad account."""

    requests: int = 0
    per_second: _Window = field(default_factory=lambda: _Window(1.0))
    per_minute: _Window = field(default_factory=lambda: _Window(60.0))
    accepted: Counter[str] = field(default_factory=Counter)
    tested: Counter[str] = field(default_factory=Counter)
    # Event name to event id to copies.
    copies: dict[str, dict[str, int]] = field(default_factory=dict)


def token_fingerprint(token: str) -> str:
    """Return a fingerprint that identifies a token without revealing it."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


class Memory:
    """Counts without a limit; ids, requests and whole events within limits."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._accounts: dict[str, _Account] = {}
        self._statuses: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._arrivals: deque[Arrival] = deque(maxlen=self._bounds.requests)
        self._kept: deque[_Kept] = deque()
        self._kept_events = 0
        self._kept_bytes = 0
        self._requests = 0
        self._events = 0
        self._unique_ids = 0
        self._repeated_ids = 0
        self._extra_copies = 0
        self._ids_not_kept = 0

    def note(self, arrival: Arrival) -> None:
        """Store a request, with any outcome."""
        account = self._account(arrival.account)
        account.requests += 1
        account.per_second.add(arrival.at)
        account.per_minute.add(arrival.at)
        self._requests += 1
        self._events += arrival.events
        if arrival.status is not None:
            self._statuses[str(arrival.status)] += 1
        if arrival.fault is not None:
            self._faults[arrival.fault] += 1
        self._arrivals.append(arrival)

    def accept(self, arrival: Arrival, events: list[dict[str, Any]], size_bytes: int) -> None:
        """Remember a request's accepted events; `size_bytes` is their share of the body, near enough."""
        account = self._account(arrival.account)
        if arrival.test:
            account.tested.update(event["event_name"] for event in events)
        else:
            self._count(account, events)
        self._kept.append(_Kept(arrival, events, size_bytes))
        self._kept_events += len(events)
        self._kept_bytes += size_bytes
        while self._kept and self._keeps_more_than_it_must():
            oldest = self._kept.popleft()
            self._kept_events -= len(oldest.events)
            self._kept_bytes -= oldest.size_bytes

    def _keeps_more_than_it_must(self) -> bool:
        if self._kept_bytes > self._bounds.event_bytes:
            return True
        return self._kept_events - len(self._kept[0].events) >= self._bounds.events

    def _account(self, name: str) -> _Account:
        account = self._accounts.get(name)
        if account is not None:
            return account
        if len(self._accounts) >= self._bounds.accounts:
            name = _OTHER_ACCOUNTS
        return self._accounts.setdefault(name, _Account())

    def _count(self, account: _Account, events: list[dict[str, Any]]) -> None:
        for event in events:
            name, event_id = event["event_name"], event["event_id"]
            if len(event_id) > LONGEST_KEPT_ID:
                event_id = _digest(event_id)
            account.accepted[name] += 1
            ids = account.copies.get(name)
            if ids is None:
                ids = account.copies[name] = {}
            copies = ids.get(event_id)
            if copies is not None:
                ids[event_id] = copies + 1
                self._extra_copies += 1
                self._repeated_ids += copies == 1
            elif self._unique_ids < self._bounds.ids:
                ids[event_id] = 1
                self._unique_ids += 1
            else:
                self._ids_not_kept += 1

    def summary(self, account: str | None = None) -> dict[str, Any]:
        """Count; with an account, the tables of that account only."""
        accounts = {name: entry for name, entry in self._accounts.items() if account in (None, name)}
        return {
            "requests": self._requests,
            "statuses": dict(self._statuses),
            "faults": dict(self._faults),
            "events": self._events,
            "accepted": sum(entry.accepted.total() for entry in accounts.values()),
            "tested": sum(entry.tested.total() for entry in accounts.values()),
            "unique_ids": self._unique_ids,
            "repeated_ids": self._repeated_ids,
            "extra_copies": self._extra_copies,
            "ids_not_kept": self._ids_not_kept,
            "counts": {name: dict(entry.accepted) for name, entry in accounts.items() if entry.accepted},
            "test_counts": {name: dict(entry.tested) for name, entry in accounts.items() if entry.tested},
        }

    def last_events(
        self, *, account: str | None, event_id: str | None, event_name: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """List the newest accepted events that match, oldest of them first."""
        matching = (
            _shown(entry.arrival, event)
            for entry in reversed(self._kept)
            if account in (None, entry.arrival.account)
            for event in reversed(entry.events)
            if event_id in (None, event["event_id"]) and event_name in (None, event["event_name"])
        )
        return list(islice(matching, min(limit, self._bounds.events)))[::-1]

    def id_lines(self, account: str | None = None) -> Iterator[bytes]:
        """Yield every kept id as JSON lines, a thousand at a time, while others go on being added."""
        for name, entry in list(self._accounts.items()):
            if account not in (None, name):
                continue
            for event_name, copies in list(entry.copies.items()):
                ids = list(copies)
                for start in range(0, len(ids), 1_000):
                    yield _id_lines(name, event_name, ids[start : start + 1_000], copies)

    def arrivals(self, account: str | None, limit: int) -> list[dict[str, Any]]:
        """List the newest requests, oldest of them first."""
        matching = (
            arrival._asdict() for arrival in reversed(self._arrivals) if account in (None, arrival.account)
        )
        return list(islice(matching, limit))[::-1]

    def rates(self, account: str | None = None) -> dict[str, dict[str, int]]:
        """Give the most requests seen within any second and any minute, since the last clearing."""
        return {
            name: {
                "requests": entry.requests,
                "most_in_1_second": entry.per_second.most,
                "most_in_60_seconds": entry.per_minute.most,
            }
            for name, entry in self._accounts.items()
            if account in (None, name)
        }


def _digest(event_id: str) -> str:
    # JSON can contain lone surrogates, which must not break counting.
    return "sha256:" + hashlib.sha256(event_id.encode(errors="surrogatepass")).hexdigest()


def _shown(arrival: Arrival, event: dict[str, Any]) -> dict[str, Any]:
    return {
        "received_at": arrival.at,
        "account": arrival.account,
        "test": arrival.test,
        "token": arrival.token,
        "event": event,
    }


def _id_lines(account: str, event_name: str, ids: list[str], copies: dict[str, int]) -> bytes:
    lines = (
        {"account": account, "event_id": event_id, "event_name": event_name, "copies": copies[event_id]}
        for event_id in ids
    )
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
