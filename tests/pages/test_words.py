"""Words that people outside the code understand."""

import ast
import re
from decimal import Decimal
from pathlib import Path

import pytest

import worker
from worker.pages import words

CODE = Path(worker.__file__).parent


def written() -> set[str]:
    """Return the actions that the code writes into the audit log; those that are put together end in a dot."""
    found = set()
    for path in CODE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "audit_log.append_audit_entry":
                found |= actions(call.args[3])
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "change.record":
                found |= actions(call.args[0])
    return found


def actions(argument: ast.expr) -> set[str]:
    if isinstance(argument, ast.JoinedStr):
        return {str(ast.literal_eval(argument.values[0]))}
    if isinstance(argument, ast.Constant):
        return {str(argument.value)}
    # A choice is made a line before; the name says nothing.
    return set()


def test_every_action_of_the_audit_log_has_words() -> None:
    found = written()

    assert {"session.open", "integration.create", "failed.retry"} <= found
    unknown = {name for name in found if not any(known.startswith(name) for known in words._ACTION_NAMES)}
    assert unknown == set()
    assert {
        f"{what}.{how}" for what in ("source", "integration") for how in ("create", "change", "delete")
    } <= set(words._ACTION_NAMES)


def test_an_action_without_words_is_called_by_its_name() -> None:
    assert words.action_name("source.create") == "added a source"
    assert words.action_name("source.paint") == "source.paint"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("Paused manually.", "Paused manually."),
        ("", "Paused manually."),
        ("Christmas", "Paused manually. Christmas"),
    ],
)
def test_why_sending_is_paused_is_said_once(told: str, said: str) -> None:
    assert words.pause_reason("by_hand", told) == said


def test_a_long_list_in_the_audit_log_is_cut_short() -> None:
    assert words.change_text(list(range(3))) == "[0, 1, 2]"
    assert words.change_text(list(range(500))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 488 more"


@pytest.mark.parametrize(
    ("shown", "text"),
    [("full", "2029-12-31 23:59:58 UTC"), ("minute", "2029-12-31 23:59 UTC"), ("day", "2029-12-31")],
)
def test_a_time_is_written_in_utc_with_what_a_script_needs_to_change_its_zone(shown: str, text: str) -> None:
    tag = words.time_tag(1_893_455_998.5, shown)

    assert tag == f'<time datetime="2029-12-31T23:59:58.500Z" data-shown="{shown}">{text}</time>'
    assert words.time_tag(None) == "none"


def test_amounts_are_grouped_by_thousands() -> None:
    assert words.money_text(1_299_500, "USD") == "1,299.50 USD"
    assert words.money_text(Decimal("12345"), None) == "12.345"


def test_no_page_groups_numbers_or_writes_times_in_a_way_of_its_own() -> None:
    own = re.compile(r"\{:,|utc_text|strftime|amount_text")
    templates = (CODE / "pages" / "templates").glob("*.html")

    assert [path.name for path in templates if own.search(path.read_text())] == []


@pytest.mark.parametrize(
    ("zones", "said"),
    [
        ((), "Days begin at midnight in UTC."),
        (("Europe/Berlin",), "Days begin at midnight in Europe/Berlin."),
        (("UTC", "Asia/Tokyo"), "Days begin at midnight of each source's time zone: Asia/Tokyo, UTC."),
        (("E", "D", "C", "B", "A"), "Days begin at midnight of each source's time zone: A, B, C and 2 more."),
    ],
)
def test_a_note_says_where_days_begin(zones: tuple[str, ...], said: str) -> None:
    assert words.day_note(zones) == said


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [(0, 0, ""), (3, 0, "none before"), (3, 3, "same as before"), (5, 4, "+25 %"), (0, 4, "-100 %")],
)
def test_a_change_is_a_share_of_what_was_before(now: float, before: float, text: str) -> None:
    assert words.change_of(now, before) == text
