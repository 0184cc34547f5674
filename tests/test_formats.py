"""Durations, counts and times for people."""

import csv
import io

import pytest

from worker.formats import count_text, csv_text, format_duration, parse_since

NOW = 1_893_456_000.0  # 2030-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - 5_400),
        ("24h", NOW - 86_400),
        ("7d", NOW - 7 * 86_400),
        ("0m", NOW),
        # Before 1970 there were no events.
        ("99999d", 0.0),
        ("1930-01-01", 0.0),
        ("2029-12-31", NOW - 86_400),
        ("2029-12-31T23:59:59Z", NOW - 1),
        # Without a zone it is UTC.
        ("2029-12-31 23:59:59", NOW - 1),
        ("2030-01-01T01:00:00+01:00", NOW),
    ],
)
def test_a_span_or_a_moment_is_read(text: str, expected: float) -> None:
    assert parse_since(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "-5m",
        "5",
        "5 m",
        "5.5h",
        "²h",
        "999999d",
        "5w",
        "yesterday",
        "2030-13-01",
        "0001-01-01T00:00+24:00",
    ],
)
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be like 90m, 24h, 7d or 2030-01-29T14:53:20Z$"):
        parse_since(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "1 minute"),
        (7_300, "2 hours"),
        (3 * 86_400, "3 days"),
    ],
)
def test_a_duration_is_written_in_its_largest_whole_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("n", "words", "text"),
    [
        (0, ("order",), "0 orders"),
        (1, ("order",), "1 order"),
        (2, ("order",), "2 orders"),
        (1, ("delivery", "deliveries"), "1 delivery"),
        (1_000, ("delivery", "deliveries"), "1,000 deliveries"),
        (1, ("event waits", "events wait"), "1 event waits"),
        (0, ("event waits", "events wait"), "0 events wait"),
    ],
)
def test_a_noun_and_its_verb_agree_with_their_count(n: int, words: tuple[str, ...], text: str) -> None:
    assert count_text(n, *words) == text


def test_a_count_says_when_it_stopped_at_its_cap() -> None:
    texts = [count_text(n, "event", cap=1_000) for n in (1, 999, 1_000)]
    assert texts == ["1 event", "999 events", "1,000 or more events"]


def test_no_cell_of_a_csv_file_is_a_formula() -> None:
    cells = [
        "=1+1",
        "+1",
        "-1+1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "-cmd",
        "-5.00",
        "-7",
        "ORD-1",
        "",
        3,
        None,
    ]
    written = csv_text(["a"], [[cell] for cell in cells])
    read = [row[0] if row else "" for row in csv.reader(io.StringIO(written, newline=""))][1:]
    guarded = [f"'{cell}" for cell in cells[:9]]
    assert read == [*guarded, "-5.00", "-7", "ORD-1", "", "3", ""]
