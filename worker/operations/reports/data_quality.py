"""Report the problems in a source's data: how many events have them, an example of each, and what to do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from worker.event.problem_texts import ProblemText, problem_text
from worker.event.problems import Problem
from worker.event.text import fold_key
from worker.ledger.reports import data_problems
from worker.ledger.reports.data_problems import ALL_EVENTS, ProblemExample, Share, shares_by_kind
from worker.ledger.reports.tallies import SECONDS_PER_HOUR
from worker.ledger.setup import integrations
from worker.ledger.setup.integrations import Integration
from worker.operations.caller import Caller
from worker.operations.reports.match_quality_advice import percent
from worker.operations.setup.sources import get_source

# Hours of each span; the current hour is one of them. The last span is the longest.
_HOURS = {"24h": 24, "7d": 7 * 24, "30d": 30 * 24}
_LONGEST = "30d"


@dataclass(frozen=True, slots=True)
class _Mappable:
    """Name an event of the shop that an integration may send as a checkout."""

    event_name: str
    integration_id: str
    integration_name: str


@dataclass(frozen=True, slots=True)
class _ProblemRow:
    """Hold one kind of problem, by span: its share of all events, and the event name with the largest share.

    ``examples`` has the newest event of each of the shop's names. ``what_to_do`` may name the proxy to blame.
    """

    problem: str
    text: ProblemText
    what_to_do: str
    spans: Mapping[str, Share]
    most_affected: Mapping[str, Share]
    examples: Sequence[ProblemExample]
    mappable: Sequence[_Mappable] = ()


@dataclass(frozen=True, slots=True)
class _DataQuality:
    """Hold the problems of one source, the most frequent first, and its mapped events by span."""

    source_id: str
    events: Mapping[str, int]
    rows: Sequence[_ProblemRow]


def data_quality(caller: Caller, source_id: str) -> _DataQuality:
    """Report the problems in a source's data in the last 24 hours, 7 days and 30 days.

    Raises:
        NotFoundError: there is no such source.
    """
    get_source(caller, source_id)
    hour = int(caller.now // SECONDS_PER_HOUR)
    with caller.ledger.read() as connection:
        counts = data_problems.count_problems(
            connection, [hour - hours + 1 for hours in _HOURS.values()], source_id
        )
        examples = data_problems.newest_examples(connection, source_id)
        targets = integrations.integrations_of_source(connection, source_id)
    by_span = {span: shares_by_kind(counts, place) for place, span in enumerate(_HOURS)}
    rows = [
        _row(kind, {span: shares[source_id, kind] for span, shares in by_span.items()}, examples, targets)
        for _, kind in by_span[_LONGEST]
    ]
    rows.sort(key=lambda row: ([-share.n for share in row.spans.values()], row.problem))
    return _DataQuality(
        source_id,
        {
            span: sum(count.counts[place] for count in counts if not count.problem)
            for place, span in enumerate(_HOURS)
        },
        rows,
    )


def _row(
    kind: str,
    by_span: Mapping[str, Mapping[str, Share]],
    examples: Sequence[ProblemExample],
    targets: Sequence[Integration],
) -> _ProblemRow:
    text = problem_text(kind)
    own_examples = [example for example in examples if example.problem == kind]
    spans = {span: shares[ALL_EVENTS] for span, shares in by_span.items()}
    by_name = {
        span: [share for name, share in shares.items() if name != ALL_EVENTS and share.n]
        for span, shares in by_span.items()
    }
    return _ProblemRow(
        problem=kind,
        text=text,
        what_to_do=_blame_proxy(own_examples, spans) or text.what_to_do,
        spans=spans,
        most_affected={
            span: max(shares, key=lambda share: (share.share, share.n))
            for span, shares in by_name.items()
            if shares
        },
        examples=own_examples,
        mappable=_mappable(own_examples, targets) if kind == Problem.LOOKS_LIKE_CHECKOUT else (),
    )


def _blame_proxy(examples: Iterable[ProblemExample], spans: Mapping[str, Share]) -> str:
    """Name the private address that browser events come from, or return ""."""
    address = next((example.address for example in examples if example.address), None)
    share = next((share for share in spans.values() if share.n), None)
    if address is None or share is None:
        return ""
    return f"{percent(share.share)} of the events come from private addresses, like {address}: set TRUSTED_PROXIES."


def _mappable(examples: Iterable[ProblemExample], targets: Iterable[Integration]) -> list[_Mappable]:
    """Return the names that an enabled integration has no rule for."""
    return [
        _Mappable(example.event_name, integration.id, integration.name)
        for integration in targets
        if integration.enabled
        for example in examples
        if fold_key(example.event_name) not in map(fold_key, integration.config.get("event_overrides") or {})
    ]
