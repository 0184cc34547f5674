"""Find sources whose events fail, are filtered or stop coming, and reasons that are new."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from worker.alerts.rules import Problem
from worker.ledger.reports import tallies
from worker.ledger.reports.shop_orders import Fate
from worker.ledger.setup.sources import Source
from worker.ledger.upkeep.alert_figures import EndedCount, FailureKind
from worker.ledger.upkeep.alerts import Severity

# Hours of each window with the least number of ended events that it is judged by. The current hour is one of them.
_WINDOWS = ((2, 20), (24, 5))
WINDOW_HOURS = 24
# A source is silent only if it sent something within this time.
SILENCE_DAYS = 31
_NEW_SECONDS = 86_400.0
# Orders of a day are compared, but not those of the last hour, which may be on their way.
ORDER_SECONDS = (90_000.0, 3_600.0)
_LEAST_ORDERS = 5


class _Rate(NamedTuple):
    part: int
    whole: int
    event_name: str
    hours: int

    @property
    def percent(self) -> float:
        return 100 * self.part / self.whole


def find_rates(counts: Iterable[EndedCount], sources: Iterable[Source], hour: int) -> list[Problem]:
    """Return a problem for each rate of a source beyond its threshold, by the worst event name."""
    by_source: dict[str, list[EndedCount]] = defaultdict(list)
    for count in counts:
        by_source[count.source_id].append(count)
    return [
        problem
        for source in sources
        for problem in _of_source(source, list(_judged(by_source[source.id], hour)))
    ]


def _judged(counts: Iterable[EndedCount], hour: int) -> Iterator[tuple[str, int, Counter[str]]]:
    """Yield each event name with the shortest window that has enough events, and its outcomes there."""
    by_name: dict[str, list[EndedCount]] = defaultdict(list)
    for count in counts:
        by_name[count.event_name].append(count)
    for name, own in sorted(by_name.items()):
        for hours, least in _WINDOWS:
            outcomes: Counter[str] = Counter()
            for count in own:
                if count.hour > hour - hours:
                    outcomes[count.outcome] += count.n
            if outcomes.total() >= least:
                yield name, hours, outcomes
                break


def _of_source(source: Source, judged: list[tuple[str, int, Counter[str]]]) -> Iterator[Problem]:
    limits = source.alert_thresholds
    failed, filtered, delivered = [
        [_Rate(outcomes[outcome], outcomes.total(), name, hours) for name, hours, outcomes in judged]
        for outcome in (tallies.FAILED, tallies.FILTERED, tallies.DELIVERED)
    ]
    worst = max(failed, key=lambda rate: rate.percent, default=None)
    if worst and worst.percent > limits["failure_percent"]:
        severity = Severity.CRITICAL if worst.part == worst.whole else Severity.WARNING
        yield _problem("failure_rate", source, worst, "failed", severity)
    worst = max(filtered, key=lambda rate: rate.percent, default=None)
    if worst and worst.percent > limits["filtered_percent"]:
        yield _problem("filtered_rate", source, worst, "were filtered because consent is missing")
    worst = min(delivered, key=lambda rate: rate.percent, default=None)
    if worst and worst.percent < limits["success_percent"]:
        yield _problem("success_rate", source, worst, "were delivered")


def _problem(
    rule: str, source: Source, rate: _Rate, what: str, severity: Severity = Severity.WARNING
) -> Problem:
    events = f"{rate.event_name} events" if rate.event_name else "events without a name"
    summary = (
        f"{rate.part:,} of {rate.whole:,} {events} of {source.id} that ended in the last {rate.hours} hours "
        f"{what} ({rate.percent:.0f} %)."
    )
    return Problem(rule, source.id, severity, summary)


def find_silent(last_hours: Mapping[str, int], sources: Iterable[Source], hour: int) -> list[Problem]:
    """Return a problem for each source that sent events before, and none for longer than its threshold."""
    problems = []
    for source in sources:
        last, most = last_hours.get(source.id), source.alert_thresholds["silent_hours"]
        if most and last is not None and hour - last > most:
            summary = f"{source.id} has sent nothing for {hour - last} hours."
            problems.append(Problem("source_silent", source.id, Severity.WARNING, summary))
    return problems


def find_new_reasons(
    kinds: Iterable[FailureKind], first_seen: Mapping[FailureKind, float], now: float
) -> list[Problem]:
    """Return a problem for each kind of failure that was first seen within a day."""
    return [
        Problem(
            "new_failure_reason",
            ":".join(kind),
            Severity.WARNING,
            f"{kind.event_name or 'Unnamed'} events of {kind.source_id} fail for a reason that was not seen before: "
            f"{kind.reason_class}.",
        )
        for kind in kinds
        if now - first_seen[kind] < _NEW_SECONDS
    ]


def find_inaccurate(counts: Mapping[str, Mapping[Fate, int]], sources: Iterable[Source]) -> list[Problem]:
    """Return a problem for each source whose orders with consent are delivered too rarely."""
    problems = []
    for source in sources:
        fates = counts.get(source.id, {})
        expected = sum(fates.values()) - fates.get(Fate.FILTERED, 0)
        delivered = fates.get(Fate.DELIVERED, 0)
        if (
            expected >= _LEAST_ORDERS
            and 100 * delivered < source.alert_thresholds["accuracy_percent"] * expected
        ):
            summary = (
                f"{delivered:,} of {expected:,} orders of {source.id} that consent allows were delivered in a day "
                f"({100 * delivered / expected:.0f} %)."
            )
            problems.append(Problem("order_accuracy", source.id, Severity.WARNING, summary))
    return problems
