"""A file is read line by line, and a bad line costs no good one."""

from io import BytesIO
from typing import Any

import pytest

from worker.files.lines import FileError, Format, Line, read


def lines(text: bytes, form: Format = "auto", **renamed: str) -> list[Line]:
    return list(read(BytesIO(text), form, renamed, lambda _: None))


def events(text: bytes, form: Format = "auto") -> dict[int, Any]:
    found = lines(text, form)
    assert [line for line in found if line.error] == []
    return {line.number: line.event for line in found}


def errors(text: bytes) -> dict[int, str]:
    return {line.number: line.error for line in lines(text) if line.error}


def test_json_lines_may_have_blank_lines_between_them() -> None:
    assert events(b'\n{"event": "A"}\r\n\n{"event": "B"}') == {2: {"event": "A"}, 4: {"event": "B"}}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_is_read_by_its_header_whatever_divides_its_cells(delimiter: str) -> None:
    text = 'event,total\nA,1\n\n"B",2\n'.replace(",", delimiter).encode()
    assert events(text) == {
        2: {"event": "A", "properties": {"total": "1"}},
        4: {"event": "B", "properties": {"total": "2"}},
    }


def test_a_byte_order_mark_is_no_part_of_the_first_column() -> None:
    assert events(b"\xef\xbb\xbfevent\nA\n") == {2: {"event": "A"}}
    assert events(b'\xef\xbb\xbf{"event": "A"}') == {1: {"event": "A"}}


def test_a_row_over_several_lines_is_counted_where_it_begins() -> None:
    text = b'event,note\nA,"one\ntwo"\nB,three\n'
    assert {number: event["properties"]["note"] for number, event in events(text).items()} == {
        2: "one\ntwo",
        4: "three",
    }


def test_an_empty_file_has_no_lines() -> None:
    assert lines(b"") == lines(b"\n \n") == []


def test_bad_json_is_named_by_its_line_and_costs_no_other_one() -> None:
    text = b'{"event": "A"}\n{"event": \n{"event": "\xff"}\n{"total": NaN}\n{"event": "B"}\n'
    assert [line.number for line in lines(text) if line.error is None] == [1, 5]
    told = errors(text)
    assert list(told) == [2, 3, 4]
    assert told[2].startswith("the line is not JSON: ")
    assert told[3] == "the line must be JSON in UTF-8."
    assert "at line 1" not in "".join(told.values())


def test_bad_rows_are_named_by_their_lines_and_cost_no_other_one() -> None:
    assert errors(b"event,total\nA\nB,1\nC\xff,2\nD,3,4\n") == {
        2: "the row has 1 cells, and the header 2.",
        4: "the row is not in UTF-8.",
        5: "the row has 3 cells, and the header 2.",
    }


@pytest.mark.parametrize(
    ("text", "renamed", "sentence"),
    [
        (b'[{"event": "A"}]', {}, "holds a list in JSON: write one event a line"),
        (b'{"event": "A"}', {"a": "b"}, "columns can only be renamed in CSV."),
        (b"event,event\n", {}, "the header names 'event' twice."),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_refused(
    text: bytes, renamed: dict[str, str], sentence: str
) -> None:
    with pytest.raises(FileError) as refused:
        lines(text, **renamed)
    assert sentence in str(refused.value)


def test_what_was_read_is_counted_in_bytes() -> None:
    text = b"event\nA\nB\n"
    counted: list[int] = []
    list(read(BytesIO(text), "auto", {}, counted.append))
    assert sum(counted) == len(text)
