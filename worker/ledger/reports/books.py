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
    tally_counts = tallies.totals_by_integration(connection)
    row_counts: _Counts = defaultdict(Counter)
    for number, outcomes in tally_counts.items():
        row_counts[number] = _booked_ends(outcomes)
        row_counts[number].subtract(_removed_counts(outcomes))
    for number, waiting in account_status.pending_by_integration(connection).items():
        row_counts[number]["pending"] = waiting.deliveries
    for number, n in account_status.in_flight_by_integration(connection).items():
        row_counts[number]["in_flight"] = n
    return _close(connection, tally_counts, row_counts, ())


def recount_books(connection: Connection) -> Books:
    """Count every row, too, and compare each state with the tallies."""
    query = (
        select(delivery.c.integration_id, delivery.c.state, batch.c.status, delivery.c.test, func.count())
        .outerjoin(batch, batch.c.id == delivery.c.batch_id)
        .group_by(delivery.c.integration_id, delivery.c.state, batch.c.status, delivery.c.test)
    )
    row_counts: _Counts = defaultdict(Counter)
    for number, state, status, test, n in connection.execute(query):
        row_counts[number][reported_state(state, status, test=test)] += n
    owned = _BooksLine("waiting deliveries with an integration", *ownership.count_owned(connection))
    return _close(connection, tallies.totals_by_integration(connection), row_counts, (owned,))


_Counts = dict[int, Counter[str]]


def _close(
    connection: Connection, tally_counts: _Counts, row_counts: _Counts, more_lines: tuple[_BooksLine, ...]
) -> Books:
    total: Counter[str] = sum(tally_counts.values(), Counter())
    events = {
        "inbox": inbox.count_waiting(connection),
        tallies.CONSUMED: total[tallies.CONSUMED],
        tallies.WITHOUT_DESTINATION: total[tallies.WITHOUT_DESTINATION],
        tallies.MAPPED: total[tallies.MAPPED],
        tallies.ERASED: total[tallies.EVENT_ERASED],
    }
    accounts = _account_ids(connection)
    booked, stored = _by_account(tally_counts, accounts), _by_account(row_counts, accounts)
    row_total: Counter[str] = sum(stored.values(), Counter())
    lines = [
        _BooksLine("events accepted", total[tallies.ACCEPTED], sum(events.values())),
        *_lines("deliveries", total, row_total),
        _BooksLine(
            "waiting batches with an integration that can send them",
            *ownership.count_waiting_batches(connection),
        ),
        *more_lines,
    ]
    for account in sorted(booked.keys() | stored.keys()):
        lines += _lines(f"{account}:", booked[account], stored[account])
    by_account = {account: dict(+states) for account, states in sorted(stored.items())}
    return Books(events, dict(+row_total), by_account, _removed_counts(total).total(), tuple(lines))


def _lines(owner: str, outcomes: Counter[str], stored: Counter[str]) -> list[_BooksLine]:
    booked, removed = _booked_ends(outcomes), _removed_counts(outcomes)
    created = _BooksLine(f"{owner} created", outcomes[tallies.CREATED], stored.total() + removed.total())
    return [
        created,
        *(_BooksLine(f"{owner} {end}", booked[end], stored[end] + removed[end]) for end in _ALL_ENDS),
    ]


def _removed_counts(outcomes: Counter[str]) -> Counter[str]:
    """Return how many deliveries in each final state retention has deleted."""
    pairs = [(outcome, n) for outcome, n in outcomes.items() if outcome.startswith(tallies.PURGED)]
    return Counter({outcome.removeprefix(tallies.PURGED): n for outcome, n in pairs})


def _booked_ends(outcomes: Counter[str]) -> Counter[str]:
    """Return how many deliveries got each final state, by the tallies."""
    return Counter({end: outcomes[end] - outcomes[tallies.LEFT + end] for end in _ALL_ENDS})


def _by_account(counts: _Counts, accounts: dict[int, str]) -> dict[str, Counter[str]]:
    """Sum up by ad account. Both sides of an integration's comparison go to the same account."""
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for number, outcomes in counts.items():
        # Events that have no integration yet belong to no account.
        if number:
            sums[accounts.get(number, _GONE)].update(outcomes)
    return sums


def _account_ids(connection: Connection) -> dict[int, str]:
    query = select(integration.c.id, ad_account.c.ad_account_id).join(
        ad_account, ad_account.c.id == integration.c.ad_account
    )
    return {row.id: row.ad_account_id for row in connection.execute(query)}


def reported_state(state: int, batch_status: int | None, *, test: bool) -> str:
    """Name the state that the books report for a delivery."""
    if state != State.OPEN:
        return _ENDS[State(state)]
    if batch_status is None:
        return "pending"
    if batch_status == BatchStatus.SETTLED:
        return tallies.TESTED if test else tallies.DELIVERED
    return "in_flight"
