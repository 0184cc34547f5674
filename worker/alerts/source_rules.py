"""Check sources: events that fail, are filtered, stop coming or have problems, and reasons that are new."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from sqlalchemy import Connection

from worker.alerts import rules
from worker.alerts.lifecycle import update_alerts
from worker.alerts.rule_figures import MAX_COUNTED_FAILURES
from worker.alerts.rules import DATA_RULE, VOLUME_RULE, RuleProblem
from worker.event.problem_texts import problem_text
from worker.formats import count_text
from worker.ledger.database import Ledger
from worker.ledger.reports import tallies
from worker.ledger.reports.data_problems import (
    ALL_EVENTS,
    ProblemCount,
    Share,
    count_problems,
    shares_by_kind,
)
from worker.ledger.reports.shop_orders import Fate, count_fates_by_source
from worker.ledger.reports.tallies import SECONDS_PER_HOUR
from worker.ledger.setup import sources
from worker.ledger.setup.sources import Source
from worker.ledger.upkeep import alert_queries, watermarks
from worker.ledger.upkeep.alert_queries import EndedCount, FailureKind
from worker.ledger.upkeep.alerts import Change, Severity

# Hours of each window with the least number of ended events that it is judged by. The current hour is one of them.
_WINDOWS = ((2, 20), (24, 5))
_WINDOW_HOURS = 24
# A source is silent only if it sent something within this time.
_SILENCE_DAYS = 31
_NEW_SECONDS = 86_400.0
# Orders of a day are compared, but not those of the last hour, which may be on their way.
_ORDER_SECONDS = (90_000.0, 3_600.0)
_LEAST_ORDERS = 5


def check_volume(ledger: Ledger, now: float, *, to_webhook: bool) -> list[Change]:
    """Check for event names that stopped; this reads more, and its result changes hourly."""
    hour = int(now // SECONDS_PER_HOUR)
    with ledger.read() as connection:
        series = _gather_volumes(connection, hour)
    problems = _find_dropped(series, hour)
    return update_alerts(ledger, (rules.VOLUME_RULE,), problems, now, to_webhook=to_webhook)


def check_data_quality(ledger: Ledger, now: float, most_percent: float, *, to_webhook: bool) -> list[Change]:
    """Check for problems that more than a percentage of a source's events have."""
    hour = int(now // SECONDS_PER_HOUR)
    with ledger.read() as connection:
        counts = count_problems(connection, [hour - hours for hours in _KIND_WINDOWS_HOURS])
    problems = _find_frequent(counts, most_percent)
    return update_alerts(ledger, (rules.DATA_RULE,), problems, now, to_webhook=to_webhook)


def check_rates(ledger: Ledger, now: float, *, to_webhook: bool) -> list[Change]:
    """Check each source's rates and silence against its thresholds, and look for new reasons of failures."""
    hour = int(now // SECONDS_PER_HOUR)
    with ledger.write() as connection:
        all_sources = list(sources.iterate_sources(connection))
        counts = alert_queries.ended_by_name(connection, hour - _WINDOW_HOURS + 1)
        last = alert_queries.last_accepted_hours(connection, hour - _SILENCE_DAYS * _HOURS_PER_DAY)
        kinds = alert_queries.failure_kinds(connection, MAX_COUNTED_FAILURES)
        first_seen = {kind: _first_seen(connection, kind, at) for kind, at in kinds.items()}
        since, until = (now - seconds for seconds in _ORDER_SECONDS)
        fates = count_fates_by_source(connection, since, until)
    problems = _find_inaccurate(fates, all_sources)
    problems += _find_rates(counts, all_sources, hour)
    problems += _find_silent(last, all_sources, hour)
    problems += _find_new_reasons(kinds, first_seen, now)
    return update_alerts(ledger, tuple(rules.SOURCE_RULES), problems, now, to_webhook=to_webhook)


def _first_seen(connection: Connection, kind: FailureKind, at: float) -> float:
    """Return when a kind of failure was first seen, whatever became of that delivery."""
    name = ":".join(("reason", *kind))
    _, stored_at = watermarks.read_watermark(connection, name)
    if not stored_at:
        watermarks.set_watermark(connection, name, 0, at)
    return stored_at or at


class _Rate(NamedTuple):
    part: int
    whole: int
    event_name: str
    hours: int

    @property
    def percent(self) -> float:
        return 100 * self.part / self.whole


def _find_rates(counts: Iterable[EndedCount], sources: Iterable[Source], hour: int) -> list[RuleProblem]:
    """Return a problem for each rate of a source beyond its threshold, by the worst event name."""
    by_source: dict[str, list[EndedCount]] = defaultdict(list)
    for count in counts:
        by_source[count.source_id].append(count)
    return [
        problem
        for source in sources
        for problem in _of_source(source, list(_windows(by_source[source.id], hour)))
    ]


def _windows(counts: Iterable[EndedCount], hour: int) -> Iterator[tuple[str, int, Counter[str]]]:
    """Yield each event name with the shortest window that has enough events, and its outcomes there."""
    by_name: dict[str, list[EndedCount]] = defaultdict(list)
    for count in counts:
        by_name[count.event_name].append(count)
    for name, own_counts in sorted(by_name.items()):
        for hours, least in _WINDOWS:
            outcomes: Counter[str] = Counter()
            for count in own_counts:
                if count.hour > hour - hours:
                    outcomes[count.outcome] += count.n
            if outcomes.total() >= least:
                yield name, hours, outcomes
                break


def _of_source(source: Source, windows: list[tuple[str, int, Counter[str]]]) -> Iterator[RuleProblem]:
    limits = source.alert_thresholds
    failed, filtered, delivered = [
        [_Rate(outcomes[outcome], outcomes.total(), name, hours) for name, hours, outcomes in windows]
        for outcome in (tallies.FAILED, tallies.FILTERED, tallies.DELIVERED)
    ]
    worst = max(failed, key=lambda rate: rate.percent, default=None)
    if worst and worst.percent > limits["failure_percent"]:
        severity = Severity.CRITICAL if worst.part == worst.whole else Severity.WARNING
        yield _problem("failure_rate", source, worst, "failed", severity)
    worst = max(filtered, key=lambda rate: rate.percent, default=None)
    if worst and worst.percent > limits["filtered_percent"]:
        yield _problem(
            "filtered_rate", source, worst, "{were} filtered: consent is missing, or a crawler sent them"
        )
    worst = min(delivered, key=lambda rate: rate.percent, default=None)
    if worst and worst.percent < limits["success_percent"]:
        yield _problem("success_rate", source, worst, "{were} delivered")


def _problem(
    rule: str, source: Source, rate: _Rate, what: str, severity: Severity = Severity.WARNING
) -> RuleProblem:
    events = f"{rate.event_name} events" if rate.event_name else "events without a name"
    summary = (
        f"{rate.part:,} of {rate.whole:,} {events} of {source.id} that ended in the last {rate.hours} hours "
        f"{what.format(were='was' if rate.part == 1 else 'were')} ({rate.percent:.0f} %)."
    )
    return RuleProblem(rule, source.id, severity, summary)


def _find_silent(last_hours: Mapping[str, int], sources: Iterable[Source], hour: int) -> list[RuleProblem]:
    """Return a problem for each source that sent events before, and none for longer than its threshold."""
    problems = []
    for source in sources:
        last, limit = last_hours.get(source.id), source.alert_thresholds["silent_hours"]
        if limit and last is not None and hour - last > limit:
            summary = f"{source.id} has sent nothing for {count_text(hour - last, 'hour')}."
            problems.append(RuleProblem("source_silent", source.id, Severity.WARNING, summary))
    return problems


def _find_new_reasons(
    kinds: Iterable[FailureKind], first_seen: Mapping[FailureKind, float], now: float
) -> list[RuleProblem]:
    """Return a problem for each kind of failure that was first seen within a day."""
    return [
        RuleProblem(
            "new_failure_reason",
            ":".join(kind),
            Severity.WARNING,
            f"{kind.event_name or 'Unnamed'} events of {kind.source_id} fail for a reason that was not seen before: "
            f"{problem_text(kind.reason_class).title}.",
        )
        for kind in kinds
        if now - first_seen[kind] < _NEW_SECONDS
    ]


def _find_inaccurate(
    counts: Mapping[str, Mapping[Fate, int]], sources: Iterable[Source]
) -> list[RuleProblem]:
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
                f"Of {expected:,} orders of {source.id} with consent in the last day, {delivered:,} "
                f"{'was' if delivered == 1 else 'were'} delivered ({100 * delivered / expected:.0f} %)."
            )
            problems.append(RuleProblem("order_accuracy", source.id, Severity.WARNING, summary))
    return problems


_HOURS_PER_DAY = 24
_LOOK_BACK_DAYS = 7
# With 20 independent events expected, none at all has a probability of e^-20.
_MIN_EXPECTED = 20
# Frequent names are noticed in shorter windows.
_STOPPED_WINDOWS_HOURS = (1, 2, 3, 6, 12, 24)


@dataclass(frozen=True, slots=True)
class _Series:
    """Hold the number of events of one name and integration, by hour since 1970."""

    integration_id: str
    event_name: str
    by_hour: Mapping[int, int]


def _gather_volumes(connection: Connection, hour: int) -> list[_Series]:
    """Return the hourly number of events of each name, for the days that are compared."""
    counts: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row in alert_queries.created_by_hour(connection, hour - (_LOOK_BACK_DAYS + 1) * _HOURS_PER_DAY):
        counts[row[0], row[1]][row[2]] = row[3]
    return [_Series(*key, by_hour) for key, by_hour in counts.items()]


def _find_dropped(series: Iterable[_Series], hour: int) -> list[RuleProblem]:
    """Return a problem for each name that stopped; ``hour`` is the current hour."""
    silences = ((name, _hours_of_silence(name.by_hour, hour)) for name in series)
    return [
        _stopped_problem(name, hours, _expected_events(name.by_hour, hour, hours))
        for name, hours in silences
        if hours
    ]


def _hours_of_silence(by_hour: Mapping[int, int], hour: int) -> int | None:
    """Return the shortest window whose silence is significant; None without one."""
    for hours in _STOPPED_WINDOWS_HOURS:
        if _total(by_hour, hour - hours, hour + 1):
            return None
        if _expected_events(by_hour, hour, hours) >= _MIN_EXPECTED:
            return hours
    return None


def _expected_events(by_hour: Mapping[int, int], hour: int, hours: int) -> float:
    """Return the lower of the median of the same hours in the last seven days and the count of a week ago.

    So neither a peak on one day nor a shop that closes on Sundays raises an alert, nor a name that is new.
    """
    days = [
        _total(by_hour, hour - hours - day * _HOURS_PER_DAY, hour - day * _HOURS_PER_DAY)
        for day in range(1, _LOOK_BACK_DAYS + 1)
    ]
    return min(median(days), days[-1])


def _total(by_hour: Mapping[int, int], first: int, end: int) -> int:
    return sum(by_hour.get(hour, 0) for hour in range(first, end))


def _stopped_problem(series: _Series, hours: int, usual: float) -> RuleProblem:
    span = "hour" if hours == 1 else count_text(hours, "hour")
    summary = (
        f"No {series.event_name} event was received for {series.integration_id} in the last {span}; "
        f"{usual:,.0f} are usual."
    )
    return RuleProblem(VOLUME_RULE, f"{series.integration_id}:{series.event_name}", Severity.WARNING, summary)


# Hours before the current one. A name with few events in the last hour is judged by a day.
_KIND_WINDOWS_HOURS = (1, 23)
_MIN_EVENTS = 50


def _find_frequent(counts: Sequence[ProblemCount], most_percent: float) -> list[RuleProblem]:
    """Return a problem for each source and kind whose share exceeds a percentage, by the worst event name."""
    windows = [shares_by_kind(counts, place) for place in range(len(_KIND_WINDOWS_HOURS))]
    problems = []
    for source_id, kind in windows[-1]:
        shares = _judged_kinds([window[source_id, kind] for window in windows])
        frequent = {name: share for name, (share, _) in shares.items() if 100 * share.share > most_percent}
        if frequent:
            name = max(frequent, key=lambda name: (frequent[name].share, frequent[name].n))
            problems.append(_kind_problem(source_id, kind, name, *shares[name]))
    return problems


def _judged_kinds(windows: Sequence[Mapping[str, Share]]) -> dict[str, tuple[Share, int]]:
    """Return each event name's share in the shortest window with enough events, and the hours of that window."""
    shares: dict[str, tuple[Share, int]] = {}
    for window, hours in zip(windows, _KIND_WINDOWS_HOURS, strict=True):
        for name, share in window.items():
            if share.events >= _MIN_EVENTS:
                shares.setdefault(name, (share, hours))
    return shares


def _kind_problem(source_id: str, kind: str, name: str, share: Share, hours: int) -> RuleProblem:
    events = "events" if name == ALL_EVENTS else f"{name} events"
    summary = (
        f"{share.n:,} of {share.events:,} {events} of {source_id} in the last {hours + 1} hours "
        f"({100 * share.share:.0f} %) {'has' if share.n == 1 else 'have'} a problem: {problem_text(kind).title}."
    )
    return RuleProblem(DATA_RULE, f"{source_id}:{kind}", Severity.WARNING, summary)
