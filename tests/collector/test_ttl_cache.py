import pytest

from tests.collector.conftest import Clock
from worker.collector.callers import TTLCache
from worker.ledger.database import LedgerBusyError


class Book:
    """A look-up that counts."""

    def __init__(self, **entries: str) -> None:
        self.entries = entries
        self.asked: list[str] = []

    def __call__(self, key: str) -> str | None:
        self.asked.append(key)
        return self.entries.get(key)


def test_an_entry_is_looked_up_once_in_its_time() -> None:
    clock, book = Clock(), Book(a="1")
    remembered = TTLCache(book, 5.0, 10, clock)
    assert remembered.get("a") == "1"
    clock.at += 4.9
    assert remembered.get("a") == "1"
    assert book.asked == ["a"]


def test_a_change_shows_after_that_time() -> None:
    clock, book = Clock(), Book(a="1")
    remembered = TTLCache(book, 5.0, 10, clock)
    remembered.get("a")
    book.entries.clear()
    clock.at += 5.0
    assert remembered.get("a") is None


def test_a_clock_that_was_set_back_keeps_nothing_for_longer() -> None:
    clock, book = Clock(), Book(a="1")
    remembered = TTLCache(book, 5.0, 10, clock)
    remembered.get("a")
    clock.at -= 3600
    remembered.get("a")
    assert book.asked == ["a", "a"]


def test_the_oldest_entry_goes_when_there_are_too_many() -> None:
    book = Book(a="1", b="2", c="3")
    remembered = TTLCache(book, 5.0, 2, Clock())
    for key in ("a", "b", "c", "c", "b", "a"):
        remembered.get(key)
    assert book.asked == ["a", "b", "c", "a"]


def test_unknown_keys_push_nothing_out() -> None:
    book = Book(a="1")
    remembered = TTLCache(book, 5.0, 1, Clock())
    for key in ("a", "x", "y", "a"):
        remembered.get(key)
    assert book.asked == ["a", "x", "y"]


class Outage:
    """Remember an outage."""

    is_away = False

    def note(self, error: Exception) -> None:
        assert isinstance(error, LedgerBusyError)
        self.is_away = True


def test_in_an_outage_an_old_entry_stays_and_nothing_is_looked_up() -> None:
    clock, book, outage = Clock(), Book(a="1"), Outage()
    remembered = TTLCache(book, 5.0, 10, clock, outage)
    remembered.get("a")
    outage.is_away, clock.at = True, clock.at + 3600
    book.entries["a"] = "2"
    assert remembered.get("a") == "1"
    with pytest.raises(LedgerBusyError):
        remembered.get("b")
    assert book.asked == ["a"]
    outage.is_away = False
    assert remembered.get("a") == "2"


def test_an_outage_that_a_look_up_finds_keeps_the_old_entry() -> None:
    clock, found = Clock(), iter(["1", LedgerBusyError("away"), ValueError("a fault of ours")])

    def look_up(_: str) -> str:
        value = next(found)
        if isinstance(value, Exception):
            raise value
        return value

    outage = Outage()
    remembered = TTLCache(look_up, 0.0, 10, clock, outage)
    assert (remembered.get("a"), remembered.get("a")) == ("1", "1")
    assert outage.is_away
    outage.is_away = False
    with pytest.raises(ValueError, match="ours"):
        remembered.get("a")


def test_in_an_outage_what_this_host_remembers_stands_in_for_a_look_up() -> None:
    outage, book = Outage(), Book(a="1")
    cache = TTLCache(book, 5.0, 10, Clock(), outage, {"b": "2"}.get)
    outage.is_away = True
    assert cache.get("b") == "2"
    with pytest.raises(LedgerBusyError):
        cache.get("c")
    outage.is_away = False
    assert (cache.get("b"), book.asked) == (None, ["b"])
