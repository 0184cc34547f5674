"""One worker at a time writes a visitor, and no write overwrites a change that it has not read."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.ledger.shop import NOW
from worker.ledger.database import Ledger
from worker.ledger.intake import visitors
from worker.ledger.intake.visitors import StoredVisitor, VersionConflictError
from worker.ledger.upkeep import expired


def save(ledger: Ledger, **known: tuple[bytes, int]) -> None:
    with ledger.write() as connection:
        changed = {key.encode(): StoredVisitor(*one) for key, one in known.items()}
        visitors.save_visitors(connection, changed, NOW)


def load(ledger: Ledger, *keys: bytes) -> dict[bytes, StoredVisitor]:
    with ledger.read() as connection:
        return visitors.load_visitors(connection, keys)


def test_a_visitor_is_kept_and_counts_its_versions(ledger: Ledger) -> None:
    save(ledger, a=(b"first", 0))
    save(ledger, a=(b"second", 1), b=(b"other", 0))
    assert {b"a": StoredVisitor(b"second", 2), b"b": StoredVisitor(b"other", 1)} == load(
        ledger, b"a", b"b", b"nobody"
    )


@pytest.mark.parametrize("seen", [0, 2, 7])
def test_a_changed_version_rolls_everything_back(ledger: Ledger, seen: int) -> None:
    save(ledger, b=(b"first", 0))
    with pytest.raises(VersionConflictError):
        save(ledger, a=(b"new", 0), b=(b"second", seen))
    assert {b"b": StoredVisitor(b"first", 1)} == load(ledger, b"a", b"b")


def test_a_visitor_deleted_meanwhile_is_not_written_again(ledger: Ledger) -> None:
    save(ledger, a=(b"first", 0))
    with ledger.write() as connection:
        visitors.delete_visitors(connection, [b"a"])
    with pytest.raises(VersionConflictError):
        save(ledger, a=(b"second", 1))
    assert load(ledger, b"a") == {}


def test_concurrent_writers_lose_nothing(ledger: Ledger) -> None:
    together = Barrier(4)

    def add(number: int) -> None:
        together.wait()
        for step in range(5):
            while True:
                known = load(ledger, b"v").get(b"v", StoredVisitor(b"", 0))
                try:
                    save(ledger, v=(known.body + f"{number}{step} ".encode(), known.version))
                    break
                except VersionConflictError:
                    continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    known = load(ledger, b"v")[b"v"]
    assert known.version == 20
    assert {f"{number}{step}" for number in range(4) for step in range(5)} == set(known.body.decode().split())


AGE = 400 * 86_400


def test_visitors_are_deleted_on_demand_and_by_age(ledger: Ledger) -> None:
    save(ledger, a=(b"", 0), b=(b"", 0), c=(b"", 0))
    with ledger.write() as connection:
        assert visitors.delete_visitors(connection, [b"a", b"nobody"]) == 1
        steps = [(NOW + AGE, 10), (NOW + AGE + 1, 1), (NOW + AGE + 1, 10)]
        gone = [expired.purge_aged(connection, NOW, now, most)["visitors"] for now, most in steps]
    assert gone == [0, 1, 1]
