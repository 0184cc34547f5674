"""Draw charts as SVG. The style sheet of the pages colours them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from markupsafe import Markup

from worker.event.times import iso
from worker.operations.reports.overview import Bar, Latency, Span
from worker.pages.words import day_note, duration_text, time_tag

_OUTCOMES = ("delivered", "failed", "filtered")

_WIDTH, _HEIGHT = 1_000, 200
_GAP = 0.18
# Parts that the vertical axis has, and times below the chart.
_MOST_STEPS, _MOST_TICKS = 4, 7


@dataclass(frozen=True, slots=True)
class _Column:
    """Hold one column of a chart: the time or day that it begins, its stacked parts by class, and these as text."""

    begins: float | str
    parts: Sequence[tuple[str, float]]
    text: str


def draw_outcomes(bars: Sequence[Bar], before: Sequence[Bar], span: Span) -> Markup:
    """Draw stacked outcomes, and the totals of the time before as a line."""
    columns = [
        _Column(
            bar.start,
            [(name, getattr(bar, name)) for name in _OUTCOMES],
            ", ".join(f"{getattr(bar, name):,} {name}" for name in _OUTCOMES),
        )
        for bar in bars
    ]
    scale = _shown_in(span)
    zones = ("UTC",) if scale == "day" else ()
    return _draw_chart("Deliveries", columns, scale=scale, before=[bar.total for bar in before], zones=zones)


def draw_latencies(latencies: Sequence[Latency], span: Span) -> Markup:
    """Draw the median latency, with the rest of the 95th percentile on top."""
    columns = [
        _Column(
            latency.start,
            [("half", latency.median), ("most", latency.p95 - latency.median)],
            f"median {duration_text(latency.median)}, p95 {duration_text(latency.p95)}"
            if latency.n
            else "no deliveries",
        )
        for latency in latencies
    ]
    return _draw_chart("Latency", columns, scale=_shown_in(span), unit=duration_text)


def draw_counts(
    what: str, counts: Sequence[tuple[str, float]], zones: Collection[str], top: float = 0, sign: str = ""
) -> Markup:
    """Draw one bar a day of these time zones, scaled from 0 to ``top``, or to the highest."""
    columns = [_Column(day, [("delivered", n)], f"{n:,.0f}{sign}") for day, n in counts]
    return _draw_chart(what, columns, unit=lambda n: f"{n:,.0f}{sign}", top=top, zones=zones)


def _draw_chart(
    what: str,
    columns: Sequence[_Column],
    *,
    scale: str = "day",
    unit: Callable[[float], str] = lambda n: f"{n:,.0f}",
    top: float = 0,
    before: Sequence[float] = (),
    zones: Collection[str] = (),
) -> Markup:
    """Draw columns with their axes. `ui.js` adds the reading of values by pointer and keyboard.

    ``top`` is the end of the vertical axis, 0 for the next round number above the highest column. ``zones`` are the
    time zones of days; the chart says them.
    """
    highest = max([0.0, *(sum(n for _, n in column.parts) for column in columns), *before])
    marks = _axis_marks(top or highest)
    scaled = [[(name, n / marks[-1]) for name, n in column.parts] for column in columns]
    line = [n / marks[-1] for n in before]
    n = len(columns)
    step = next((size for size in range(1, n + 1) if n % size == 0 and n / size <= _MOST_TICKS), 1)
    return Markup(
        '<div class="plot" data-chart="{}"><div class="marks" aria-hidden="true">{}</div>{}'
        '<div class="ticks" aria-hidden="true">{}</div></div><output class="readout small soft"></output>{}'
    ).format(
        what,
        Markup("").join(Markup("<span>{}</span>").format(unit(mark)) for mark in reversed(marks)),
        _draw_columns(scaled, line, len(marks) - 1, [_title(column, scale) for column in columns]),
        Markup("").join(Markup("<span>{}</span>").format(_tick(column, scale)) for column in columns[::step]),
        Markup('<p class="small soft">{}</p>').format(day_note(zones)) if zones else "",
    )


def _axis_marks(highest: float) -> list[float]:
    """Return at most five round numbers from 0 to the highest or above it."""
    highest = max(1.0, highest)
    sizes = (round_number * 10.0**power for power in range(10) for round_number in (1, 2, 5))
    step = next(size for size in sizes if size * _MOST_STEPS >= highest)
    return [step * n for n in range(ceil(highest / step) + 1)]


def _shown_in(span: Span) -> str:
    """Return how the times of a span are shown below its chart: the days of a month begin in UTC."""
    if span.step_seconds >= 86_400:
        return "day"
    return "hour" if span.steps * span.step_seconds > 86_400 else "clock"


def _utc_day(seconds: float) -> str:
    return iso(seconds)[:10]


def _tick(column: _Column, scale: str) -> str:
    if isinstance(column.begins, str):
        return column.begins[5:]
    return _utc_day(column.begins)[5:] if scale == "day" else time_tag(column.begins, scale)


def _title(column: _Column, scale: str) -> Markup:
    """Return the attributes and the title of a column; `ui.js` changes the time to the viewer's zone."""
    if isinstance(column.begins, str) or scale == "day":
        day = column.begins if isinstance(column.begins, str) else f"{_utc_day(column.begins)} UTC"
        return Markup('<g class="column" data-text="{}: {}"><title>{}: {}</title>').format(
            day, column.text, day, column.text
        )
    at = datetime.fromtimestamp(column.begins, UTC)
    return Markup(
        '<g class="column" data-at="{}" data-text="{}"><title>{:%Y-%m-%d %H:%M} UTC: {}</title>'
    ).format(iso(column.begins), column.text, at, column.text)


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
    words = f"{what}, by day in UTC, today last: {', '.join(map(str, counts))}"
    return Markup(
        '<svg class="trend" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>"
    ).format(words, words, Markup("").join(bars))


def draw_statuses(by_day: Mapping[int, str], today: int) -> Markup:
    """Draw a status of 30 days: the better it was, the higher."""
    levels = {"NEEDS_IMPROVEMENT": ("failed", 1), "FAIR": ("filtered", 2), "GOOD": ("delivered", 3)}
    names = ["", *(status.capitalize().replace("_", " ") for status in levels)]
    columns = []
    for day in range(today - 29, today + 1):
        status = by_day.get(day, "")
        parts = [levels[status]] if status in levels else []
        columns.append(_Column(_utc_day(day * 86_400.0), parts, names[parts[0][1]] if parts else "no score"))
    return _draw_chart("Status", columns, unit=lambda n: names[round(n)], top=3, zones=("UTC",))


def _draw_columns(
    columns: Sequence[Sequence[tuple[str, float]]],
    line: Sequence[float],
    steps: int,
    titles: Sequence[Markup],
) -> Markup:
    """Draw columns of stacked parts, each part as a share of the height, over a grid of ``steps``."""
    step = _WIDTH / max(1, len(columns))
    shapes = []
    for index, (parts, title) in enumerate(zip(columns, titles, strict=True)):
        x, top = index * step + step * _GAP / 2, float(_HEIGHT)
        shapes.append(title + _rect(index * step, 0, step, _HEIGHT, "hit"))
        for name, part in parts:
            if part:
                top -= part * _HEIGHT
                shapes.append(_rect(x, top, step * (1 - _GAP), part * _HEIGHT, name))
        shapes.append(Markup("</g>"))
    points = " ".join(f"{(n + 0.5) * step:.1f},{_HEIGHT * (1 - part):.1f}" for n, part in enumerate(line))
    return Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<path class="grid" d="{}"/>{}{}</svg>'
    ).format(
        _WIDTH,
        _HEIGHT,
        "".join(f"M0 {_HEIGHT * n / steps:.1f}H{_WIDTH}" for n in range(steps)),
        Markup("").join(shapes),
        Markup('<polyline class="before" points="{}"/>').format(points) if any(line) else "",
    )


def _rect(x: float, y: float, width: float, height: float, outcome: str) -> Markup:
    return Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
        outcome, x, y, width, height
    )
