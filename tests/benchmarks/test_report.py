from xml.etree import ElementTree as ET

from benchmarks import report
from benchmarks.results import Goal, Result

ORDER = ["publish", "fill"]


def result(row: str, case: str = "any", *, reached: float = 9.0) -> Result:
    return Result(row, case, "events/s", reached, {"the usual way": 3.0}, (Goal("8 & more", 8, reached),))


def test_a_row_that_runs_again_replaces_its_own_results_and_no_others() -> None:
    old = [result("publish", "a"), result("publish", "b"), result("fill")]
    new = [result("publish", "c")]
    assert report.merged(old, new, ORDER) == [new[0], old[2]]


def test_results_of_a_row_that_is_gone_leave_the_table() -> None:
    assert report.merged([result("build")], [result("fill")], ORDER) == [result("fill")]


def test_the_table_stands_between_its_marks_and_the_rest_of_the_page_stays() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    written = report.with_table(page, [result("fill")])
    assert (written.startswith("before\n"), written.endswith("\nafter\n"), "old" in written) == (
        True,
        True,
        False,
    )
    assert "| `fill` | any | **3 times** the usual way (3) | 9 events/s | 8 & more: met (9) |" in written
    assert report.with_table(written, [result("fill")]) == written


def test_the_cores_that_each_part_needs_come_from_the_row_scale() -> None:
    case = "a processor's time by part in µs: PostgreSQL 83, ingest 280, management 0"
    page = f"before\n{report.CORES_BEGIN}\nold\n{report.CORES_END}\nafter\n"
    written = report.with_cores(page, [Result("scale", case, "µs an event", 363.0)])
    lines = [line for line in written.splitlines() if line.startswith("| ")][1:]
    assert lines == [
        "| ingest | 280 | 2.8 | 28 |",
        "| PostgreSQL | 83 | 0.8 | 8 |",
        "| management | 0 | 0.0 | 0 |",
        "| together | 363 | 3.6 | 36 |",
    ]
    assert "old" not in written


def test_a_goal_that_was_missed_stands_out() -> None:
    assert "**8 & more: missed by 50% (4)**" in report.table([result("fill", reached=4.0)])


def test_the_chart_is_an_svg_with_a_bar_and_the_words_of_each_goal() -> None:
    drawn = ET.fromstring(report.chart([result("fill"), result("publish", reached=4.0)]))  # noqa: S314 - our own
    words = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    bars = [bar for bar in drawn.iter("{http://www.w3.org/2000/svg}rect") if bar.get("height") == "18"]
    assert len(bars) == 2
    assert words.count("8 & more") == 2
    assert float(bars[0].get("width", 0)) > float(bars[1].get("width", 0))
