"""A file is read line by line, and a bad line costs no good one."""

from io import BytesIO
from typing import Any

import pytest

from worker.files.lines import FileError, Format, Line, ReadOptions, read_lines


def lines(text: bytes, form: Format = "auto", encoding: str | None = None, **renamed: str) -> list[Line]:
    return list(read_lines(BytesIO(text), ReadOptions(form, encoding, renamed), lambda _: None))


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


def test_a_quote_that_is_never_closed_costs_its_own_line_alone() -> None:
    text = b'event,note\nA,"open\n' + b"B,x\n" * 50_000 + b'C,"y, and\nmore"\n'
    found = lines(text)
    assert {line.number: line.error for line in found if line.error} == {
        2: "is no CSV: field larger than field limit (131072)."
    }
    assert (len(found), found[-1].number) == (1 + 50_000 + 1, 50_003)


def test_a_stray_quote_that_pairs_up_with_a_later_one_costs_no_whole_line_between_them() -> None:
    found = lines(b'event,note\nA,"open\nB,x\nC,y",z\nD,z\n')
    assert {line.number: line.event["event"] for line in found if line.error is None} == {3: "B", 5: "D"}
    assert {line.number: line.error for line in found if line.error} == {
        2: "the row has 3 cells, and the header 2.",
        4: "the row has 3 cells, and the header 2.",
    }


def test_what_a_spreadsheet_adds_at_the_edges_is_nothing() -> None:
    text = b"sep=;\r\nevent;total;;\r\nA;1;;\r\n;;;\r\nB;2\r\n;;;\r\n"
    assert events(text) == {
        3: {"event": "A", "properties": {"total": "1"}},
        5: {"event": "B", "properties": {"total": "2"}},
    }


def test_what_stands_in_quotes_divides_no_cells() -> None:
    assert events(b'"event";"total, net, in EUR"\nA;1\n') == {
        2: {"event": "A", "properties": {"total, net, in EUR": "1"}}
    }


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-8", "utf-16", "utf-16-le", "cp1250"])
@pytest.mark.parametrize("text", ["event;city\r\nA;Zürich\r\n", '\n{"event": "A", "city": "Zürich"}\n'])
def test_an_encoding_can_be_told(encoding: str, text: str) -> None:
    (line,) = lines(text.encode(encoding), encoding=encoding)
    assert (line.number, line.error) == (2, None)
    assert "Zürich" in str(line.event)


def test_utf_16_is_known_by_its_mark() -> None:
    assert events("event\tcity\r\nA\tŁódź\r\n".encode("utf-16")) == {
        2: {"event": "A", "context": {"traits": {"city": "Łódź"}}}
    }


def test_a_file_in_utf_16_that_breaks_off_is_told_of_behind_its_whole_lines() -> None:
    found: list[Line] = []
    with pytest.raises(FileError, match=r"^is not in utf-16, or breaks off\.$"):
        found.extend(read_lines(BytesIO("event\nA\nB".encode("utf-16")[:-1]), ReadOptions(), lambda _: None))
    assert [line.event for line in found] == [{"event": "A"}]


def test_an_empty_file_has_no_lines() -> None:
    assert lines(b"") == lines(b"\n \n") == []


def test_bad_json_is_named_by_its_line_and_costs_no_other_one() -> None:
    text = b'{"event": "A"}\n{"event": \n{"event": "\xff"}\n{"total": NaN}\n{"event": "B"}\n'
    assert [line.number for line in lines(text) if line.error is None] == [1, 5]
    told = errors(text)
    assert list(told) == [2, 3, 4]
    assert told[2].startswith("the line is not JSON: ")
    assert told[3] == "the line is not in UTF-8: say with --encoding what it is in, like cp1252."
    assert "at line 1" not in "".join(told.values())


def test_bad_rows_are_named_by_their_lines_and_cost_no_other_one() -> None:
    assert errors(b"event,total\nA\nB,1\nC\xff,2\nD,3,4\n") == {
        2: "the row has 1 cell, and the header 2.",
        4: "the row is not in UTF-8: say with --encoding what it is in, like cp1252.",
        5: "the row has 3 cells, and the header 2.",
    }


@pytest.mark.parametrize(
    ("text", "renamed", "sentence"),
    [
        (b'[{"event": "A"}]', {}, "holds a list in JSON: write one event a line"),
        (b'{"event": "A"}', {"a": "b"}, "columns can only be renamed, and times read, in CSV."),
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
    list(read_lines(BytesIO(text), ReadOptions(), counted.append))
    assert sum(counted) == len(text)
