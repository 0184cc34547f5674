"""Write results into the documentation: a table, a chart, and the figures behind both."""

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from benchmarks.results import Goal, Result, number

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "images" / "performance.svg"
SCALING = ROOT / "docs" / "scaling.md"
CORES_BEGIN, CORES_END = "<!-- cores of `make bench ROW=scale` -->", "<!-- end of the cores -->"
BEGIN, END = "<!-- figures of `make bench` -->", "<!-- end of the figures -->"

_PART = re.compile(r"([A-Za-z]+) (\d+)")
_WIDTH, _LEFT, _LINE, _TOP = 1_000, 480, 34, 40
_INK, _GOOD, _SHORT, _GREY = "#1f2328", "#1a7f5a", "#c2571a", "#8b949e"


def kept(figures: Path = FIGURES) -> list[Result]:
    """Return the results of the last run of each row."""
    return [Result.from_dict(row) for row in json.loads(figures.read_text())] if figures.exists() else []


def write(new: Sequence[Result], order: Sequence[str]) -> None:
    """Put new results in place of what their rows had before, and render everything again."""
    results = merged(kept(), new, order)
    FIGURES.write_text(json.dumps([row.to_dict() for row in results], indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(with_table(PAGE.read_text(), results))
    CHART.write_text(chart(results))
    SCALING.write_text(with_cores(SCALING.read_text(), results))


def merged(old: Iterable[Result], new: Sequence[Result], order: Sequence[str]) -> list[Result]:
    """Return old and new in the rows' order; a row that ran again has only its new results."""
    rerun = {result.row for result in new}
    results = [result for result in old if result.row not in rerun and result.row in order] + list(new)
    return sorted(results, key=lambda result: order.index(result.row))


def with_table(page: str, results: Sequence[Result]) -> str:
    """Return a page with the table between its two marks."""
    return _between(page, BEGIN, table(results), END)


def with_cores(page: str, results: Sequence[Result]) -> str:
    """Return a page with the cores of each part for 10,000 and 100,000 events a second, as the row `scale` found it."""
    used = {
        part: float(spent)
        for result in results
        if result.row == "scale" and "by part in µs" in result.case
        for part, spent in _PART.findall(result.case.partition(":")[2])
    }
    parts = [*sorted(used.items(), key=_most), ("together", sum(used.values()))]
    lines = [f"| {part} | {spent:.0f} | {spent / 100:.1f} | {spent / 10:.0f} |" for part, spent in parts]
    head = "| part | µs of a core for an event | cores for 10,000 events/s | for 100,000 |"
    return _between(page, CORES_BEGIN, "\n".join([head, "|---|---|---|---|", *lines]), CORES_END)


def _most(part: tuple[str, float]) -> float:
    return -part[1]


def _between(page: str, begin: str, text: str, end: str) -> str:
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def table(results: Sequence[Result]) -> str:
    """Return the table in Markdown, with what it was measured on below."""
    head = ["| row | measured on | compared with | ours | goal |", "|---|---|---|---|---|"]
    settings = dict.fromkeys(_measured_on(result) for result in results)
    return "\n".join([*head, *map(_table_line, results), "", *settings])


def _table_line(row: Result) -> str:
    ratios = "<br>".join(
        f"**{number(ratio)} times** {name} ({number(row.others[name])})" for name, ratio in row.ratios.items()
    )
    goals = "<br>".join(map(_verdict, row.goals))
    return f"| `{row.row}` | {row.case} | {ratios} | {number(row.ours)} {row.unit} | {goals} |"


def _verdict(goal: Goal) -> str:
    return f"{goal}" if goal.met else f"**{goal}**"


def _measured_on(result: Result) -> str:
    setting = result.setting
    return f"Measured {setting.get('date', '')} on {setting.get('machine', '')}; {setting.get('versions', '')}.  "


def chart(results: Sequence[Result]) -> str:
    """Draw how far each goal was reached, as a stand-alone SVG: one bar a goal, the line is the goal."""
    goals = [(f"{result.row}, {result.case}", goal) for result in results for goal in result.goals]
    height = _TOP + _LINE * len(goals)
    bars = "".join(_bar(label, goal, _TOP + _LINE * index) for index, (label, goal) in enumerate(goals))
    at = _x(1.0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="13" fill="{_INK}">\n'
        f"<title>How far each goal was reached</title>\n"
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n'
        f'<text x="{at}" y="20" text-anchor="middle">goal</text>\n{bars}'
        f'<line x1="{at}" x2="{at}" y1="28" y2="{height - 6}" stroke="{_INK}" stroke-dasharray="4 3"/>\n</svg>\n'
    )


def _bar(label: str, goal: Goal, y: int) -> str:
    reached = min(2.0, _share(goal))
    colour = _GOOD if goal.met else _SHORT
    width = _x(reached) - _LEFT
    words = f"{number(goal.reached)} ({'at most' if goal.at_most else 'at least'} {number(goal.target)})"
    return (
        f'<text x="{_LEFT - 10}" y="{y + 11}" text-anchor="end">{escape(label)}</text>\n'
        f'<text x="{_LEFT - 10}" y="{y + 25}" text-anchor="end" font-size="11" fill="{_GREY}">'
        f"{escape(goal.words)}</text>\n"
        f'<rect x="{_LEFT}" y="{y + 3}" width="{width:.1f}" height="18" fill="{colour}"/>\n'
        f'<text x="{_LEFT + width + 8:.1f}" y="{y + 17}">{escape(words)}</text>\n'
    )


def _share(goal: Goal) -> float:
    """Return how much of a goal was reached; 1 is just met, also where less is better."""
    if not goal.at_most:
        return goal.reached / goal.target if goal.target else 1.0
    return goal.target / goal.reached if goal.reached else 2.0


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - 200) / 2
