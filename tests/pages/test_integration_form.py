"""An integration's overrides as lines that people write."""

from typing import Any

import pytest

from worker.pages.integration_form import OverridesError, _format_overrides, parse_overrides


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("", {}),
        ("Newsletter Opened = lead", {"Newsletter Opened": "lead"}),
        ("A = lead, signup\n\n B = drop ", {"A": ["lead", "signup"], "B": "drop"}),
        # An event's name may have an equals sign, Pinterest's never has.
        ("a=b = lead", {"a=b": "lead"}),
        ('{"A": {"send": "lead", "when": {"x": 1}}}', {"A": {"send": "lead", "when": {"x": 1}}}),
    ],
)
def test_lines_and_json_are_read(text: str, table: dict[str, Any]) -> None:
    assert table == parse_overrides(text)


@pytest.mark.parametrize("text", ["lead", "= lead", "A =", "{", '{"A"'])
def test_what_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(OverridesError):
        parse_overrides(text)


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"A": "lead", "B": ["lead", "signup"]},
        {"a=b": "lead"},
        {"{A": "lead"},
        {"A": [{"send": "lead", "when": {"x": [1, 2]}}], "B": "drop"},
    ],
)
def test_what_is_written_is_read_back(table: dict[str, Any]) -> None:
    assert table == parse_overrides(_format_overrides(table))


def test_simple_ones_are_written_as_lines() -> None:
    assert _format_overrides({"A": "lead", "B": ["lead", "signup"]}) == "A = lead\nB = lead, signup"
