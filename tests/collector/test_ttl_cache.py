from tests.collector.conftest import Clock
from worker.collector.callers import TTLCache


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
