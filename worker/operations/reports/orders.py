"""Record the shop's own orders, and say which of them Pinterest has, and why not the others."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import IO, Any

from worker.event.envelope import EnvelopeError
from worker.event.received import received_from_server
from worker.event.times import iso
from worker.files.columns import ColumnsError, settle_cells
from worker.files.importing import Importer, ImportOptions, complete_event
from worker.files.lines import FileError, Line, ReadOptions, read_lines
from worker.formats import amount_text
from worker.ledger import rows
from worker.ledger.delivery import find_deliveries
from worker.ledger.delivery.find_deliveries import FoundDelivery
from worker.ledger.reports import shop_orders
from worker.ledger.reports.shop_orders import Fate, OrderSum, UndeliveredOrder
from worker.ledger.setup import sources
from worker.ledger.setup.sources import Source
from worker.ledger.upkeep import alert_queries
from worker.ledger.vault import SECONDS_A_DAY
from worker.operations.caller import Caller
from worker.operations.deliveries.selection import FIRST_DAY, last_days
from worker.operations.errors import InvalidError, NotFoundError
from worker.pinterest.mapping.mapping import Failed, Filtered, Outcome, map_event
from worker.pinterest.user_data.visitor import Visitor
from worker.pipeline.ingest.accepting import PublishIds
from worker.pipeline.ingest.outcomes import Destinations
from worker.pipeline.ingest.record_orders import OrderError, read_order, record_orders

MAX_DAYS = 92
UNDELIVERED = tuple(fate for fate in Fate if fate is not Fate.DELIVERED)
_LINES_A_STEP = 500
_ORDERS_A_STEP = 200
# Pinterest refuses older events.
_OLDEST_SECONDS = 7 * SECONDS_A_DAY
_MOST_DELIVERIES = 20
_DEFAULTS = ImportOptions("Order Completed", "web")
_STATES_OF_FATE = {
    Fate.WAITING: ("pending", "in_flight"),
    Fate.FAILED: ("failed",),
    Fate.FILTERED: ("filtered",),
    Fate.NOT_SENT: ("dropped", "duplicate", "discarded", "erased"),
}


@dataclass(slots=True)
class OrderCounts:
    """Count orders that were recorded, by line where some are wrong, and those that never arrived.

    ``sendable``, ``denied`` (no consent) and ``incomplete`` (by line: why) count the latter; ``sent`` were accepted.
    """

    new: int = 0
    known: int = 0
    sent: int = 0
    sendable: int = 0
    denied: int = 0
    too_old: int = 0
    incomplete: dict[int, str] = field(default_factory=dict)
    wrong: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Hold how many orders should be delivered, which are those with consent, and how many are."""

    delivered: int = 0
    expected: int = 0

    @property
    def percent(self) -> float | None:
        """Return the share that is delivered; None without orders."""
        return 100 * self.delivered / self.expected if self.expected else None


@dataclass(frozen=True, slots=True)
class _Reconciliation:
    """Hold what became of the orders of some days, and the accuracy by day and before.

    ``unmapped`` accepted events are not read yet: the orders in them count as never arrived until then.
    """

    first_day: int
    last_day: int
    sums: Sequence[OrderSum]
    accuracy: Accuracy
    before: Accuracy
    by_day: Sequence[tuple[int, Accuracy]]
    unmapped: int


@dataclass(frozen=True, slots=True)
class _MissingOrder:
    """Hold an order that an ad account does not have, why, and the delivery that says so, if there is one."""

    row: UndeliveredOrder
    reason: str
    delivery: FoundDelivery | None


def record(
    caller: Caller, source_id: str, orders: Sequence[Mapping[str, Any]], retention_days: float
) -> OrderCounts:
    """Record orders of a source.

    Raises:
        NotFoundError: there is no such source.
    """
    with caller.ledger.read() as connection:
        source = sources.load_source(connection, source_id)
    if source is None:
        raise NotFoundError("source", source_id)
    result = record_orders(caller.ledger, source, orders, caller.now, retention_days)
    counts = OrderCounts(result.new, result.known, wrong=result.wrong)
    _audit(caller, source_id, counts)
    return counts


def import_orders(
    caller: Caller,
    source: Source,
    file: IO[bytes],
    retention_days: float,
    *,
    reading: ReadOptions | None = None,
    send_missing: PublishIds | None = None,
) -> OrderCounts:
    """Record the orders of a file, which is read as `send` reads it.

    Those that never arrived are judged: consent, Pinterest's limit of seven days, and what Pinterest needs. With
    ``send_missing``, which announces them, those that can be delivered are accepted as events. Safe to repeat.

    Raises:
        InvalidError: the file cannot be read.
    """
    total = OrderCounts()
    try:
        _import(
            caller,
            source,
            read_lines(file, reading or ReadOptions(), int),
            retention_days,
            send_missing,
            total,
        )
    except FileError as error:
        raise InvalidError("file", str(error)) from None
    _audit(caller, source.id, total)
    return total


def _import(
    caller: Caller,
    source: Source,
    lines: Iterator[Line],
    retention_days: float,
    send_missing: PublishIds | None,
    total: OrderCounts,
) -> None:
    while step := list(islice(lines, _LINES_A_STEP)):
        orders = {line.number: _order_of(line, total) for line in step}
        good = [line for line in step if orders[line.number] is not None]
        result = record_orders(
            caller.ledger, source, (orders[line.number] or {} for line in good), caller.now, retention_days
        )
        total.new, total.known = total.new + result.new, total.known + result.known
        total.wrong |= {good[place - 1].number: sentence for place, sentence in result.wrong.items()}
        stored = [line for line in good if line.number not in total.wrong]
        _send(caller, source, list(_missing(caller, source, stored, orders, total)), send_missing, total)


def _order_of(line: Line, total: OrderCounts) -> Mapping[str, Any] | None:
    """Return the order of a line; a wrong line is noted."""
    problem = line.error or ("" if isinstance(line.event, Mapping) else "must be an object.")
    if not problem:
        try:
            event: Mapping[str, Any] = settle_cells(dict(line.event)) if line.cells else line.event
        except ColumnsError as error:
            problem = str(error)
        else:
            return event
    total.wrong[line.number] = problem
    return None


def _missing(
    caller: Caller,
    source: Source,
    lines: Sequence[Line],
    orders: Mapping[int, Mapping[str, Any] | None],
    total: OrderCounts,
) -> Iterator[tuple[Line, Mapping[str, Any]]]:
    """Yield the lines and orders that no delivery is of, and that are young enough."""
    keys: dict[bytes, Line] = {}
    for line in lines:
        try:
            order = read_order(source, orders[line.number] or {}, caller.now)
        except OrderError:
            continue
        if order.ordered_at < caller.now - _OLDEST_SECONDS:
            total.too_old += 1
        else:
            key = caller.ledger.vault.keyed_hash("order", source.id, order.order_id)
            keys[key] = _with_time(line, order.ordered_at)
    with caller.ledger.read() as connection:
        arrived = shop_orders.keys_with_deliveries(connection, list(keys))
    for key, line in keys.items():
        if key not in arrived:
            yield line, {**(orders[line.number] or {}), "timestamp": line.event["timestamp"]}


def _with_time(line: Line, ordered_at: float) -> Line:
    """Return the line of an order with its time as the event's, where the order has it under another name."""
    if str(line.event.get("timestamp") or "").strip():
        return line
    return replace(line, event={**line.event, "timestamp": iso(ordered_at)})


def _send(
    caller: Caller,
    source: Source,
    missing: Sequence[tuple[Line, Mapping[str, Any]]],
    offer: PublishIds | None,
    total: OrderCounts,
) -> None:
    judgement = _judge_lines(caller, source, missing)
    total.sendable += len(judgement.sendable)
    total.denied += len(judgement.denied)
    total.incomplete |= judgement.incomplete
    if offer is None:
        return
    taker = Importer(caller.ledger, source, _DEFAULTS, offer, lambda: None)
    for counts in taker.take(judgement.sendable):
        total.sent += counts.taken
        total.sendable -= counts.wrong
        total.wrong |= {line.number: f"was recorded, but not sent: {line.error}" for line in counts.errors}
    # Stored as filtered, so that the comparison says why Pinterest does not have them.
    for counts in taker.take(judgement.denied):
        total.wrong |= {line.number: f"was recorded, but not stored: {line.error}" for line in counts.errors}


@dataclass(slots=True)
class _JudgedLines:
    """Hold lines that can be sent, those without consent, and by number why the others cannot be delivered."""

    sendable: list[Line] = field(default_factory=list)
    denied: list[Line] = field(default_factory=list)
    incomplete: dict[int, str] = field(default_factory=dict)


def _judge_lines(
    caller: Caller, source: Source, missing: Iterable[tuple[Line, Mapping[str, Any]]]
) -> _JudgedLines:
    """Judge each line as ingest will; one integration that can deliver it is enough."""
    judgement = _JudgedLines()
    with caller.ledger.read() as connection:
        targets = Destinations(connection, [source.id]).of(source.id)
    for line, order in missing:
        try:
            event = complete_event(dict(order), _DEFAULTS)
        except EnvelopeError as error:
            judgement.incomplete[line.number] = f"{str(error).rstrip('.')}."
            continue
        received = received_from_server(event, caller.now)
        outcomes: list[Outcome] = []
        for target in targets:
            consent = target.source.default_consent(received.channel)
            outcomes += map_event(event, received, Visitor.EMPTY, target.options, caller.now, consent)
        is_known = any(event.get(name) for name in ("userId", "anonymousId"))
        reasons = [
            outcome.reason
            for outcome in outcomes
            if isinstance(outcome, Failed) and not _may_be_found(outcome, is_known)
        ]
        if outcomes and all(isinstance(outcome, Filtered) for outcome in outcomes):
            judgement.denied.append(line)
        elif reasons and all(isinstance(outcome, Failed | Filtered) for outcome in outcomes):
            judgement.incomplete[line.number] = reasons[0]
        else:
            judgement.sendable.append(line)
    return judgement


def _may_be_found(outcome: Failed, is_known: bool) -> bool:
    """Return whether what is missing may be stored with the visitor."""
    return is_known and outcome.reason_class == "no_identity"


def _audit(caller: Caller, source_id: str, counts: OrderCounts) -> None:
    if counts.new or counts.known or counts.sent:
        with caller.changing() as change:
            figures = {"new": counts.new, "known": counts.known, "sent": counts.sent}
            change.record("orders.record", source_id, figures)


def reconcile(caller: Caller, days: int, source_id: str | None = None) -> _Reconciliation:
    """Say what became of the orders of the last days, and of the days before for comparison."""
    first_day, last_day = last_days(caller, days, source_id)
    with caller.ledger.snapshot() as connection:
        all_sums = shop_orders.sum_orders(connection, first_day - days, last_day, source_id)
        unmapped = alert_queries.inbox_span(connection)
    sums = [order_sum for order_sum in all_sums if order_sum.day >= first_day]
    seen_days = sorted({order_sum.day for order_sum in sums})
    return _Reconciliation(
        first_day=first_day,
        last_day=last_day,
        sums=sums,
        accuracy=_accuracy_of(sums),
        before=_accuracy_of(order_sum for order_sum in all_sums if order_sum.day < first_day),
        by_day=[
            (day, _accuracy_of(order_sum for order_sum in sums if order_sum.day == day)) for day in seen_days
        ],
        unmapped=unmapped,
    )


def _accuracy_of(sums: Iterable[OrderSum]) -> Accuracy:
    """Return the share of orders that are delivered, of those that consent does not forbid."""
    counts: Counter[Fate] = Counter()
    for order_sum in sums:
        counts[order_sum.fate] += order_sum.n
    return Accuracy(counts[Fate.DELIVERED], counts.total() - counts[Fate.FILTERED])


@dataclass(slots=True)
class OrderLine:
    """Hold the orders of one day, source, ad account and currency by their fate; ``day`` is a date."""

    day: str
    source_id: str
    ad_account_id: str
    currency: str
    n: Counter[Fate] = field(default_factory=Counter)
    thousandths: Counter[Fate] = field(default_factory=Counter)

    @property
    def ordered(self) -> int:
        """Return how many orders there are: each has one fate."""
        return self.n.total()

    def value(self, fate: Fate | None) -> str:
        """Return the value of the orders with a fate, or of all."""
        total = self.thousandths.total() if fate is None else self.thousandths[fate]
        return amount_text(total)


def day_text(day: int) -> str:
    """Write a day as its date."""
    return (FIRST_DAY + timedelta(days=day)).isoformat()


def lines_of(sums: Iterable[OrderSum]) -> list[OrderLine]:
    """Return a line for each day, source, ad account and currency."""
    lines: dict[tuple[int, str, str, str], OrderLine] = {}
    for order_sum in sums:
        line = lines.setdefault(order_sum[:4], OrderLine(day_text(order_sum.day), *order_sum[1:4]))
        line.n[order_sum.fate] += order_sum.n
        line.thousandths[order_sum.fate] += order_sum.value_thousandths
    return list(lines.values())


def plain_of(missing: _MissingOrder) -> dict[str, Any]:
    """Return an order that is missing as the API, the export and the command line show it."""
    order = missing.row.order
    return {
        "order_id": order.order_id,
        "source_id": order.source_id,
        "ordered_at": iso(order.ordered_at),
        "value": amount_text(order.value_thousandths or 0).replace(",", ""),
        "currency": order.currency,
        "ad_account_id": missing.row.ad_account_id or None,
        "fate": missing.row.fate.name.lower(),
        "reason": missing.reason,
        "delivery_id": missing.delivery.id if missing.delivery else None,
    }


def list_undelivered(
    caller: Caller,
    days: int,
    limit: int,
    *,
    fates: Sequence[Fate] = UNDELIVERED,
    source_id: str | None = None,
    before: int | None = None,
) -> list[_MissingOrder]:
    """Return the orders of the last days that an ad account does not have, the last recorded first."""
    chosen_days = last_days(caller, days, source_id)
    with caller.ledger.snapshot() as connection:
        orders = shop_orders.undelivered_orders(
            connection, caller.ledger.vault, chosen_days, fates, limit, source_id, before
        )
        keys = list({row.order_key for row in orders})
        deliveries: dict[bytes | None, list[FoundDelivery]] = defaultdict(list)
        for chunk in rows.chunks(keys, _ORDERS_A_STEP):
            most_rows = _MOST_DELIVERIES * len(chunk)
            for delivery in find_deliveries.find_of_order(connection, "", chunk, most_rows):
                deliveries[delivery.order_key].append(delivery)
    return [_missing_order(row, deliveries[row.order_key]) for row in orders]


def _missing_order(row: UndeliveredOrder, deliveries: Sequence[FoundDelivery]) -> _MissingOrder:
    own = [delivery for delivery in deliveries if delivery.ad_account_id == row.ad_account_id]
    match = next(
        (delivery for delivery in reversed(own) if delivery.state in _STATES_OF_FATE.get(row.fate, ())), None
    )
    if match is not None:
        return _MissingOrder(row, match.reason or "Waits for its batch.", match)
    if not row.ad_account_id:
        return _MissingOrder(row, "The source has no enabled integration.", None)
    return _MissingOrder(row, "No event of this order was received.", None)
