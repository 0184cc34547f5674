"""Balance the books: compare accepted events with what became of them."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from worker.ledger.delivery import ownership
from worker.ledger.intake import inbox
from worker.ledger.reports import account_status, tallies
from worker.ledger.schema import BatchStatus, State, ad_account, batch, delivery, integration

_ENDS = {
    State.FAILED: tallies.FAILED,
    State.FILTERED: tallies.FILTERED,
    State.DUPLICATE: tallies.DUPLICATE,
    State.DROPPED: tallies.DROPPED,
    State.DISCARDED: tallies.DISCARDED,
    State.ERASED: tallies.ERASED,
}
_ALL_ENDS = (tallies.DELIVERED, tallies.TESTED, *_ENDS.values())
# Sums up the deliveries of deleted integrations.
_GONE = "deleted integrations"


@dataclass(frozen=True, slots=True)
class _BooksLine:
    """Compare what was counted when it happened with what is stored now."""

    what: str
    counted: int
    found: int

    @property
    def balances(self) -> bool:
        return self.counted == self.found


@dataclass(frozen=True, slots=True)
class Books:
    """Count every event and every delivery by state, with the proof.

    ``removed`` counts what retention deleted; no other number here includes it. Ad accounts are named by their id;
    deliveries of deleted integrations are under `GONE`.
    """

    events: dict[str, int]
    deliveries: dict[str, int]
    by_account: dict[str, dict[str, int]]
    removed: int
    lines: tuple[_BooksLine, ...]

    @property
    def balance(self) -> bool:
        return all(line.balances for line in self.lines)


def balance_books(connection: Connection) -> Books:
    """Prove that everything is accounted for at one moment. The connection must be a snapshot.

    Only waiting rows are counted. The rest is read from the tallies, which were written in the transactions that
    ended the events and deliveries. So the cost does not grow with the history.
    """
    counted = tallies.totals_by_integration(connection)
    found: _Counts = defaultdict(Counter)
    for number, outcomes in counted.items():
        found[number] = _booked_ends(outcomes)
        found[number].subtract(_removed(outcomes))
    for number, waiting in account_status.pending_by_integration(connection).items():
        found[number]["pending"] = waiting.deliveries
    for number, n in account_status.in_flight_by_integration(connection).items():
        found[number]["in_flight"] = n
    return _close(connection, counted, found, ())


def recount_books(connection: Connection) -> Books:
    """Count every row, too, and compare each state with the tallies."""
    grouped = (
        select(delivery.c.integration_id, delivery.c.state, batch.c.status, delivery.c.test, func.count())
        .outerjoin(batch, batch.c.id == delivery.c.batch_id)
        .group_by(delivery.c.integration_id, delivery.c.state, batch.c.status, delivery.c.test)
    )
    found: _Counts = defaultdict(Counter)
    for number, state, status, test, n in connection.execute(grouped):
        found[number][reported_state(state, status, test=test)] += n
    owned = _BooksLine("waiting deliveries with an integration", *ownership.count_owned(connection))
    return _close(connection, tallies.totals_by_integration(connection), found, (owned,))


_Counts = dict[int, Counter[str]]


def _close(
    connection: Connection, counted: _Counts, found: _Counts, more_lines: tuple[_BooksLine, ...]
) -> Books:
    total: Counter[str] = sum(counted.values(), Counter())
    events = {
        "inbox": inbox.count_waiting(connection),
        tallies.CONSUMED: total[tallies.CONSUMED],
        tallies.WITHOUT_DESTINATION: total[tallies.WITHOUT_DESTINATION],
        tallies.MAPPED: total[tallies.MAPPED],
        tallies.ERASED: total[tallies.EVENT_ERASED],
    }
    accounts = _account_ids(connection)
    booked, stored = _by_account(counted, accounts), _by_account(found, accounts)
    everything: Counter[str] = sum(stored.values(), Counter())
    lines = [
        _BooksLine("events accepted", total[tallies.ACCEPTED], sum(events.values())),
        *_lines("deliveries", total, everything),
        _BooksLine(
            "waiting batches with an integration that can send them",
            *ownership.count_waiting_batches(connection),
        ),
        *more_lines,
    ]
    for account in sorted(booked.keys() | stored.keys()):
        lines += _lines(f"{account}:", booked[account], stored[account])
    by_account = {account: dict(+states) for account, states in sorted(stored.items())}
    return Books(events, dict(+everything), by_account, _removed(total).total(), tuple(lines))


def _lines(whose: str, counted: Counter[str], stored: Counter[str]) -> list[_BooksLine]:
    booked, removed = _booked_ends(counted), _removed(counted)
    created = _BooksLine(f"{whose} created", counted[tallies.CREATED], stored.total() + removed.total())
    return [
        created,
        *(_BooksLine(f"{whose} {end}", booked[end], stored[end] + removed[end]) for end in _ALL_ENDS),
    ]


def _removed(counted: Counter[str]) -> Counter[str]:
    """Return how many deliveries in each final state retention has deleted."""
    gone = [(outcome, n) for outcome, n in counted.items() if outcome.startswith(tallies.PURGED)]
    return Counter({outcome.removeprefix(tallies.PURGED): n for outcome, n in gone})


def _booked_ends(counted: Counter[str]) -> Counter[str]:
    """Return how many deliveries got each final state, by the tallies."""
    return Counter({end: counted[end] - counted[tallies.LEFT + end] for end in _ALL_ENDS})


def _by_account(counts: _Counts, accounts: dict[int, str]) -> dict[str, Counter[str]]:
    """Sum up by ad account. Both sides of an integration's comparison go to the same account."""
    summed: dict[str, Counter[str]] = defaultdict(Counter)
    for number, counted in counts.items():
        # Events that have no integration yet belong to no account.
        if number:
            summed[accounts.get(number, _GONE)].update(counted)
    return summed


def _account_ids(connection: Connection) -> dict[int, str]:
    wanted = select(integration.c.id, ad_account.c.ad_account_id).join(
        ad_account, ad_account.c.id == integration.c.ad_account
    )
    return {row.id: row.ad_account_id for row in connection.execute(wanted)}


def reported_state(state: int, batch_status: int | None, *, test: bool) -> str:
    """Name the state that the books report for a delivery."""
    if state != State.OPEN:
        return _ENDS[State(state)]
    if batch_status is None:
        return "pending"
    if batch_status == BatchStatus.SETTLED:
        return tallies.TESTED if test else tallies.DELIVERED
    return "in_flight"
