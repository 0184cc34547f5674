"""Put together what the overview shows."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from sqlalchemy import Connection

from worker.ledger import accounts, failures, integrations, rollups, standing, tallies
from worker.ledger.accounts import Credential
from worker.ledger.integrations import Integration
from worker.management.ui.charts import Bar, Pace, Span

# Within how long the slower ones arrive: 95 in 100.
MOST_OF_THEM = 0.95


@dataclass(frozen=True, slots=True)
class Account:
    """Hold how one ad account does."""

    ad_account_id: str
    integrations: tuple[Integration, ...]
    credentials: tuple[Credential, ...]
    pending: int
    in_flight: int
    waiting_since: float | None
    failed_now: int
    moved: Counter[str]
    requests_a_minute: float

    @property
    def rate(self) -> Credential | None:
        return next(iter(self.credentials), None)

    @property
    def requests_a_second(self) -> float:
        return self.requests_a_minute / rollups.SECONDS_A_MINUTE


def by_account(connection: Connection, span: Span, now: float) -> list[Account]:
    """Return the ad accounts, each with what waits now and what moved within a span."""
    members: dict[str, list[Integration]] = defaultdict(list)
    for row in integrations.every(connection):
        members[row.ad_account_id].append(row)
    waiting, flying = standing.pending(connection), standing.in_flight(connection)
    credentials: dict[str, list[Credential]] = defaultdict(list)
    for credential in accounts.in_use(connection):
        credentials[credential.ad_account_id].append(credential)
    failed = failures.count_by_account(connection)
    moved = rollups.by_integration(connection, min(span.starts(now)))
    requests = accounts.requests_a_minute(connection, now)
    return [
        _account(
            members.get(ad_account_id, []),
            waiting,
            flying.get(ad_account_id),
            moved,
            ad_account_id=ad_account_id,
            credentials=tuple(credentials.get(ad_account_id, ())),
            failed_now=failed.get(ad_account_id, 0),
            requests_a_minute=requests.get(ad_account_id, 0.0),
        )
        for ad_account_id in dict.fromkeys([*members, *credentials])
    ]


def steps(
    connection: Connection, span: Span, now: float, numbers: Sequence[int] | None = None
) -> dict[float, Counter[str]]:
    """Return what moved in each step of a span, the oldest first; of all integrations or of some."""
    starts = span.starts(now)
    found = rollups.read(connection, starts[0], span.step_seconds, numbers)
    return {start: found.get(start, Counter()) for start in starts}


def bars(moved: Mapping[float, Counter[str]]) -> list[Bar]:
    """Return how many deliveries ended in each step."""
    return [
        Bar(
            start,
            counts[tallies.DELIVERED] + counts[tallies.TESTED],
            counts[tallies.FAILED],
            counts[tallies.FILTERED],
        )
        for start, counts in moved.items()
    ]


def paces(moved: Mapping[float, Counter[str]]) -> list[Pace]:
    """Return how long the deliveries of each step took."""
    return [pace(start, counts) for start, counts in moved.items()]


def pace(start: float, counts: Counter[str]) -> Pace:
    """Return how long deliveries took."""
    taken = [(seconds, counts[rollups.within(seconds)]) for seconds in rollups.STEPS_SECONDS]
    n = sum(count for _, count in taken)
    return Pace(start, n, _within(taken, ceil(n * 0.5)), _within(taken, ceil(n * MOST_OF_THEM)))


def _within(taken: Sequence[tuple[float, int]], wanted: int) -> float:
    """Return the step of time in which the so-many-th delivery arrived, 0 where there is none."""
    so_far = 0
    for seconds, count in taken:
        so_far += count
        if 0 < wanted <= so_far:
            return seconds
    return 0.0


def _account(
    mine: Sequence[Integration],
    waiting: Mapping[int, standing.Waiting],
    flying: standing.Waiting | None,
    moved: Mapping[int, Counter[str]],
    *,
    ad_account_id: str,
    credentials: tuple[Credential, ...],
    failed_now: int,
    requests_a_minute: float,
) -> Account:
    queued = [waiting[one.number] for one in mine if one.number in waiting]
    since = [one.since for one in (*queued, *([flying] if flying else []))]
    total: Counter[str] = Counter()
    for one in mine:
        total += moved.get(one.number, Counter())
    return Account(
        ad_account_id=ad_account_id,
        integrations=tuple(mine),
        credentials=credentials,
        pending=sum(one.deliveries for one in queued),
        in_flight=flying.deliveries if flying else 0,
        waiting_since=min(since, default=None),
        failed_now=failed_now,
        moved=total,
        requests_a_minute=requests_a_minute,
    )
