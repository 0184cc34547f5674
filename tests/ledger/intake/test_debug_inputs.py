"""Debug inputs are limited by number and time and belong to one source."""

from unittest.mock import patch

import pytest

from tests.ledger.shop import NOW, place
from worker.ledger.database import Ledger
from worker.ledger.intake import debug_inputs
from worker.ledger.intake.debug_inputs import NewInput
from worker.ledger.setup import sources
from worker.ledger.upkeep import expired


def kept(event_id: str, source_id: str = "src_shop", forget_at: float = NOW + 60) -> NewInput:
    return NewInput(source_id, event_id, "page", "mapped", NOW, forget_at, b"sealed", None, None)


def keep(ledger: Ledger, *new: NewInput) -> None:
    with ledger.write() as connection:
        debug_inputs.save_debug_inputs(connection, new)


def ids(ledger: Ledger, source_id: str = "", now: float = NOW) -> list[str]:
    with ledger.read() as connection:
        return [one.event_id for one in debug_inputs.newest_debug_inputs(connection, now, 100, source_id)]


def test_the_newest_of_each_source_are_kept(ledger: Ledger) -> None:
    with patch.object(debug_inputs, "MAX_INPUTS", 2):
        keep(ledger, kept("a1"), kept("b1", "src_other"), kept("a2"))
        keep(ledger, kept("a3"), kept("a4"))

    assert ids(ledger) == ["a4", "a3", "b1"]
    assert ids(ledger, "src_other") == ["b1"]


def test_expired_inputs_are_hidden_and_then_deleted(ledger: Ledger) -> None:
    keep(ledger, kept("old", forget_at=NOW), kept("new"))
    assert ids(ledger) == ["new"]
    with ledger.write() as connection:
        assert expired.purge_aged(connection, NOW, NOW, 10)["debug inputs"] == 1

    assert ids(ledger, now=0.0) == ["new"]


def test_switching_off_deletes_the_inputs_of_this_source(ledger: Ledger) -> None:
    place(ledger)
    keep(ledger, kept("a"), kept("b", "src_other"))
    with ledger.write() as connection:
        debug_inputs.set_debugging(connection, "src_shop", NOW + 60)
    assert until(ledger) == NOW + 60
    assert ids(ledger) == ["b", "a"]
    with ledger.write() as connection:
        debug_inputs.set_debugging(connection, "src_shop", 0.0)

    assert until(ledger) == 0.0
    assert ids(ledger) == ["b"]


def until(ledger: Ledger) -> float:
    with ledger.read() as connection:
        source = sources.load_source(connection, "src_shop")
    assert source
    return source.debug_until


@pytest.mark.parametrize(
    ("source_id", "event_id", "found"), [("src_shop", "a", 2), ("src_other", "a", 1), ("src_shop", "b", None)]
)
def test_an_event_is_found_by_its_source_and_id_the_newest_first(
    ledger: Ledger, source_id: str, event_id: str, found: int | None
) -> None:
    keep(ledger, kept("a"), kept("a", "src_other"), kept("a"))
    with ledger.read() as connection:
        numbers = sorted(one.id for one in debug_inputs.newest_debug_inputs(connection, NOW, 9))
        one = debug_inputs.debug_input_of_event(connection, source_id, event_id, NOW)
        again = debug_inputs.find_debug_input(connection, one.id, NOW) if one else None

    assert (numbers.index(one.id) if one else None) == found
    assert one == again
