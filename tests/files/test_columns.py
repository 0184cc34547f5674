"""A row becomes an event by the names of its columns."""

import pytest

from worker.files.columns import Columns, ColumnsError, _column_path, settle_cells


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Event", ("event",)),
        ("event_name", ("event",)),
        ("Event Time", ("timestamp",)),
        ("date", ("timestamp",)),
        ("customer_id", ("userId",)),
        ("anonymousId", ("anonymousId",)),
        ("ip", ("context", "ip")),
        ("action_source", ("context", "action_source")),
        # Identifiers of a visitor, in the spellings that the mapping accepts.
        ("E-Mail", ("context", "traits", "E-Mail")),
        ("first name", ("context", "traits", "first name")),
        ("postal_code", ("context", "traits", "postal_code")),
        ("external_id", ("context", "traits", "external_id")),
        ("traits.email", ("context", "traits", "email")),
        ("consent.advertising", ("context", "consent", "advertising")),
        ("Consent", ("context", "consent")),
        ("marketing_consent", ("context", "consent", "marketing")),
        ("context.page.url", ("context", "page", "url")),
        ("properties.total", ("properties", "total")),
        ("order_id", ("properties", "order_id")),
        ("event_id", ("properties", "event_id")),
        # A dot alone says nothing.
        ("v1.total", ("properties", "v1.total")),
    ],
)
def test_a_column_has_its_place_by_its_name(name: str, expected: tuple[str, ...]) -> None:
    assert _column_path(name) == expected


def test_a_row_becomes_an_event_without_its_empty_cells() -> None:
    columns = Columns(["event", "timestamp", "total", "email", "consent.advertising", "note"], {})
    assert columns.event(["Order Completed", "2030-01-29", " 12.50 ", "a@example.com", "TRUE", ""]) == {
        "event": "Order Completed",
        "timestamp": "2030-01-29",
        "properties": {"total": "12.50"},
        "context": {"traits": {"email": "a@example.com"}, "consent": {"advertising": True}},
    }


def test_a_cell_may_hold_a_list() -> None:
    assert Columns(["products"], {}).event(['[{"product_id": "A", "quantity": 2}]']) == {
        "properties": {"products": [{"product_id": "A", "quantity": 2}]}
    }


def test_a_column_can_stand_for_another_name() -> None:
    columns = Columns(["Kunde", "Summe"], {"Kunde": "email", "Summe": "total"})
    assert columns.event(["a@example.com", "5"]) == {
        "context": {"traits": {"email": "a@example.com"}},
        "properties": {"total": "5"},
    }


@pytest.mark.parametrize(
    ("header", "renamed", "sentence"),
    [
        (["a", "a"], {}, "the header names 'a' twice."),
        (["a", " ", "b"], {}, "the header has a column without a name."),
        (["a"], {"b": "email"}, "the header has no column 'b'; it has a."),
        (["time", "date"], {}, "the columns 'time' and 'date' both mean timestamp."),
        (["properties.a", "properties.a.b"], {}, "both mean properties.a.b."),
        (["properties.a.b", "properties.a"], {}, "means properties.a, which other columns are part of."),
    ],
)
def test_an_ambiguous_header_is_refused(header: list[str], renamed: dict[str, str], sentence: str) -> None:
    with pytest.raises(ColumnsError) as refused:
        Columns(header, renamed)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (["1"], "the row has 1 cell, and the header 2."),
        (["1", "2", "3"], "the row has 3 cells, and the header 2."),
        (["1", "[2"], "properties.b begins like JSON, but is invalid."),
    ],
)
def test_a_row_that_does_not_fit_is_refused(cells: list[str], sentence: str) -> None:
    with pytest.raises(ColumnsError) as refused:
        Columns(["a", "b"], {}).event(cells)
    assert str(refused.value) == sentence


def test_a_point_between_thousands_is_removed_from_the_amounts_of_a_row() -> None:
    row = {"Total": "1.299", "price": "1.050", "Currency": "EUR", "order_id": "1.234", "quantity": "1.500"}
    assert settle_cells({"event": "x", "properties": row}) == {
        "event": "x",
        "properties": row | {"Total": "1299", "price": "1050"},
    }
    assert settle_cells({"event": "x"}) == {"event": "x"}


def test_a_row_with_an_amount_that_could_mean_two_is_refused() -> None:
    with pytest.raises(ColumnsError, match=r"properties.total could mean thousands or decimals"):
        settle_cells({"properties": {"total": "1.299", "currency": "USD"}})
