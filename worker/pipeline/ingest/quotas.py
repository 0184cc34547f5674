"""Limit how many visitors the public calls of a source create in a day."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakKeyDictionary

from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.reports import tallies
from worker.ledger.reports.tallies import PUBLIC_VISITORS, SECONDS_A_DAY, SIGNED_VISITORS

_REFRESH_SECONDS = 10.0
_MAX_SOURCES = 10_000


class _VisitorQuotas:
    """Limit the visitors that public calls of each source create per day (UTC).

    The count is read from the ledger every `REFRESH_SECONDS` per source; in between this process adds its own.
    Several processes may exceed a limit by the visitors of that time.
    """

    def __init__(self, ledger: Ledger, now: Callable[[], float] | None = None) -> None:
        self._ledger = ledger
        self._now = now or ledger.now
        self._created: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, source_id: str, limit: int, n: int) -> int:
        """Return how many of ``n`` new visitors may be stored, and count them."""
        now = self._now()
        # Held during the read, so that no other thread counts from the same number.
        with self._lock:
            read_at, count = self._created.get(source_id, (0.0, 0))
            same_day = int(read_at // SECONDS_A_DAY) == int(now // SECONDS_A_DAY)
            if not same_day or not 0 <= now - read_at < _REFRESH_SECONDS:
                read_at, count = now, self._read(source_id, now)
            admitted = max(0, min(n, limit - count))
            self._created[source_id] = (read_at, count + admitted)
            self._created.move_to_end(source_id)
            if len(self._created) > _MAX_SOURCES:
                self._created.popitem(last=False)
        return admitted

    def _read(self, source_id: str, now: float) -> int:
        with self._ledger.read() as connection:
            today = int(now // SECONDS_A_DAY)
            return tallies.usage_of_source(connection, source_id, today, (PUBLIC_VISITORS,))[PUBLIC_VISITORS]


_quotas: WeakKeyDictionary[Ledger, _VisitorQuotas] = WeakKeyDictionary()


def visitor_quotas(ledger: Ledger) -> _VisitorQuotas:
    """Return the quotas of this process on a ledger."""
    quotas = _quotas.get(ledger)
    return quotas if quotas is not None else _quotas.setdefault(ledger, _VisitorQuotas(ledger))


class _VisitorEvent(Protocol):
    """The source, visitor keys and trust of an event."""

    @property
    def source_id(self) -> str: ...
    @property
    def keys(self) -> tuple[bytes, ...]: ...
    @property
    def trust(self) -> int: ...


@dataclass(slots=True)
class NewVisitors:
    """Hold the source and trust of each visitor that a bulk creates, and the keys that a quota refused."""

    senders: dict[bytes, tuple[str, int]]
    refused: set[bytes] = field(default_factory=set)

    @classmethod
    def of(cls, senders: Mapping[int, _VisitorEvent], new_keys: Set[bytes]) -> "NewVisitors":
        """Assign each new visitor to the event that creates it, with preference for signed events."""
        creators: dict[bytes, tuple[str, int]] = {}
        for _, sender in sorted(senders.items()):
            for key in sender.keys:
                if key in new_keys and (key not in creators or sender.trust > creators[key][1]):
                    creators[key] = sender.source_id, sender.trust
        return cls(creators)

    def refuse_beyond_quota(self, quotas: _VisitorQuotas, limit_of: Callable[[str], int]) -> None:
        """Refuse the newest public visitors beyond the quota of their source."""
        public: dict[str, list[bytes]] = {}
        for key, (source_id, trust) in self.senders.items():
            if trust == Trust.PUBLIC:
                public.setdefault(source_id, []).append(key)
        for source_id, keys in public.items():
            admitted = quotas.admit(source_id, limit_of(source_id), len(keys))
            self.refused.update(keys[admitted:])

    def usage(self, written: Set[bytes]) -> Counter[tuple[str, str]]:
        """Count the stored and refused visitors of the written keys, by source id and kind."""
        counts: Counter[tuple[str, str]] = Counter()
        for key, (source_id, trust) in self.senders.items():
            if key in written:
                counts[source_id, self._what(key, trust)] += 1
        return counts

    def _what(self, key: bytes, trust: int) -> str:
        if key in self.refused:
            return tallies.VISITORS_REFUSED
        return PUBLIC_VISITORS if trust == Trust.PUBLIC else SIGNED_VISITORS
