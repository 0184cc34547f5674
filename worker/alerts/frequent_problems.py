"""Find kinds of problems that too many of a source's events have."""

from collections.abc import Mapping, Sequence

from worker.alerts.rules import DATA_RULE, Problem
from worker.event.problem_texts import problem_text
from worker.ledger.reports.data_problems import ALL_EVENTS, ProblemCount, Share, shares_by_kind
from worker.ledger.upkeep.alerts import Severity

# Hours before the current one. A name with few events in the last hour is judged by a day.
WINDOWS_HOURS = (1, 23)
_MIN_EVENTS = 50


def find_frequent(counts: Sequence[ProblemCount], most_percent: float) -> list[Problem]:
    """Return a problem for each source and kind whose share exceeds a percentage, by the worst event name."""
    windows = [shares_by_kind(counts, place) for place in range(len(WINDOWS_HOURS))]
    problems = []
    for source_id, kind in windows[-1]:
        judged = _judged([window[source_id, kind] for window in windows])
        frequent = {name: share for name, (share, _) in judged.items() if 100 * share.share > most_percent}
        if frequent:
            name = max(frequent, key=lambda name: (frequent[name].share, frequent[name].n))
            problems.append(_problem(source_id, kind, name, *judged[name]))
    return problems


def _judged(windows: Sequence[Mapping[str, Share]]) -> dict[str, tuple[Share, int]]:
    """Return each event name's share in the shortest window with enough events, and the hours of that window."""
    judged: dict[str, tuple[Share, int]] = {}
    for window, hours in zip(windows, WINDOWS_HOURS, strict=True):
        for name, share in window.items():
            if share.events >= _MIN_EVENTS:
                judged.setdefault(name, (share, hours))
    return judged


def _problem(source_id: str, kind: str, name: str, share: Share, hours: int) -> Problem:
    events = "events" if name == ALL_EVENTS else f"{name} events"
    summary = (
        f"{share.n:,} of {share.events:,} {events} of {source_id} in the last {hours + 1} hours "
        f"({100 * share.share:.0f} %) have a problem: {problem_text(kind).title}."
    )
    return Problem(DATA_RULE, f"{source_id}:{kind}", Severity.WARNING, summary)
