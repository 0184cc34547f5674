"""Draw charts as SVG. The style sheet of the pages colours them."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from worker.operations.reports.overview import Bar, Latency, Span

_OUTCOMES = ("delivered", "failed", "filtered")

_WIDTH, _HEIGHT = 1_000, 200
_GAP = 0.18


SPANS = {
    span.key: span
    for span in (
        Span("1h", "1 hour", 60, 60),
        Span("24h", "24 hours", 24, 3_600),
        Span("7d", "7 days", 28, 6 * 3_600),
        Span("30d", "30 days", 30, 86_400),
    )
}


def draw_outcomes(bars: Sequence[Bar]) -> Markup:
    """Draw stacked bars, scaled from 0 to the highest total."""
    top = highest_total(bars)
    return _drawn([[(name, getattr(bar, name) / top) for name in _OUTCOMES] for bar in bars])


def draw_latencies(latencies: Sequence[Latency]) -> Markup:
    """Draw the median latency, with the rest of the 95th percentile on top."""
    top = highest_latency(latencies)
    return _drawn(
        [
            [("half", latency.median / top), ("most", (latency.p95 - latency.median) / top)]
            for latency in latencies
        ]
    )


def draw_counts(counts: Sequence[tuple[str, float]], top: float = 0) -> Markup:
    """Draw one bar a count, scaled from 0 to ``top``, or to the highest."""
    top = top or max([1, *(n for _, n in counts)])
    return _drawn([[("delivered", n / top)] for _, n in counts])


def highest_total(bars: Sequence[Bar]) -> int:
    """Return the highest total, at least 1: the top of the chart."""
    return max([1, *(bar.total for bar in bars)])


def highest_latency(latencies: Sequence[Latency]) -> float:
    """Return the highest 95th percentile in seconds, at least 1: the top of the chart."""
    return max([1.0, *(latency.p95 for latency in latencies)])


def draw_share(part: float, whole: float, kind: str = "") -> Markup:
    """Draw a share as a bar. Less than half is marked as low, unless ``kind`` names another class."""
    width = min(100.0, 100 * part / whole) if whole else 0.0
    named = kind or ("low" if width < 50 else "")
    return Markup(
        '<svg class="bar{}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect class="back" width="100" height="8"/><rect class="fill" width="{:.2f}" height="8"/></svg>'
    ).format(f" {named}" if named else "", width)


def draw_trend(counts: Sequence[int], what: str) -> Markup:
    """Draw small counts by day, today's last, with the counts as text."""
    step, top = 100 / len(counts), max(1, *counts)
    bars = [
        _rect(index * step, 20 - 20 * n / top, step * (1 - _GAP), 20 * n / top, "failed")
        for index, n in enumerate(counts)
        if n
    ]
    words = f"{what}, by day, today last: {', '.join(map(str, counts))}"
    return Markup(
        '<svg class="trend" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>"
    ).format(words, words, Markup("").join(bars))


def draw_statuses(by_day: Mapping[int, str], today: int) -> Markup:
    """Draw a status of 30 days: the better it was, the higher."""
    heights = {
        "NEEDS_IMPROVEMENT": ("failed", 1 / 3),
        "FAIR": ("filtered", 2 / 3),
        "GOOD": ("delivered", 1.0),
    }
    return _drawn(
        [[heights[by_day[day]]] if by_day.get(day) in heights else [] for day in range(today - 29, today + 1)]
    )


def _drawn(columns: Sequence[Sequence[tuple[str, float]]]) -> Markup:
    """Draw columns of stacked parts, each part as a share of the height."""
    step = _WIDTH / max(1, len(columns))
    drawn = []
    for index, parts in enumerate(columns):
        x, top = index * step + step * _GAP / 2, float(_HEIGHT)
        for name, part in parts:
            if part:
                top -= part * _HEIGHT
                drawn.append(_rect(x, top, step * (1 - _GAP), part * _HEIGHT, name))
    inner = Markup("").join(drawn)
    return Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true" focusable="false">{}</svg>'
    ).format(_WIDTH, _HEIGHT, inner)


def _rect(x: float, y: float, width: float, height: float, outcome: str) -> Markup:
    return Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
        outcome, x, y, width, height
    )
