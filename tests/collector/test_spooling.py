"""While the ledger cannot take events, they wait in files; each gets into the inbox once, in order."""

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from worker.collector.intake import GroupCommit
from worker.collector.spooling import SpoolingIntake
from worker.ledger.database import Ledger, LedgerBusyError
from worker.ledger.intake import spool
from worker.ledger.intake.inbox import Accepted, SignedRequest
from worker.ledger.schema import inbox as inbox_table


def event(name: str) -> Accepted:
    return Accepted("src", None, None, False, 1.0, name.encode())


def stored(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return [
            body.decode()
            for body in connection.scalars(select(inbox_table.c.body).order_by(inbox_table.c.id))
        ]


class Doorkeeper:
    """Accept events as a group commit does, unless the ledger is away."""

    def __init__(self, ledger: Ledger) -> None:
        self._commit = GroupCommit(ledger)
        self.away = False
        self.asked = 0

    def accept(
        self, events: Sequence[Accepted], now: float, signed: SignedRequest | None = None
    ) -> list[int]:
        self.asked += 1
        if self.away:
            raise OperationalError("INSERT", {}, Exception("the server closed the connection"))
        return self._commit.accept(events, now, signed)


class World:
    """An intake, and those that follow it in the same folder."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger, self.folder = ledger, folder
        self.door = Doorkeeper(ledger)
        self.hinted: list[int] = []
        self.intake = self.another()

    def another(self, most_bytes: int = 1024**2) -> SpoolingIntake:
        return SpoolingIntake(self.ledger, self.door.accept, self.folder, most_bytes, self._hint)

    def _hint(self, ids: Sequence[int]) -> int:
        self.hinted += ids
        return len(ids)


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(ledger, tmp_path / "spool")


def test_without_trouble_nothing_is_spooled(world: World) -> None:
    assert len(world.intake.accept([event("a"), event("b")], 1.0)) == 2
    assert (stored(world.ledger), spool.files(world.folder)) == (["a", "b"], [])


def test_what_waits_in_the_spool_comes_in_order_and_once(world: World) -> None:
    world.door.away = True
    assert world.intake.accept([event("a"), event("b")], 1.0) == []
    assert world.intake.is_away
    world.door.away = False
    # The ledger is back, but what came first must be first.
    assert world.intake.accept([event("c")], 1.0) == []
    assert (stored(world.ledger), world.door.asked) == ([], 1)

    world.intake.drain()
    assert len(world.intake.accept([event("d")], 1.0)) == 1
    world.intake.drain()

    assert stored(world.ledger) == ["a", "b", "c", "d"]
    assert (len(world.hinted), spool.files(world.folder), world.intake.is_away) == (3, [], False)


def test_once_the_ledger_is_known_to_be_away_nobody_waits_for_it(world: World) -> None:
    world.intake.note(LedgerBusyError("away"))
    assert world.intake.accept([event("a")], 1.0) == []
    assert (world.door.asked, stored(world.ledger)) == (0, [])
    world.intake.drain()
    world.intake.note(LedgerBusyError("away"))
    world.intake.drain()
    assert len(world.intake.accept([event("b")], 1.0)) == 1
    assert (stored(world.ledger), world.intake.is_away) == (["a", "b"], False)


def test_another_process_brings_in_what_a_killed_one_left_and_a_second_time_changes_nothing(
    world: World,
) -> None:
    world.door.away = True
    for name in "abc":
        world.intake.accept([event(name)], 1.0)
    (path,) = spool.files(world.folder)
    world.another().drain()
    # The file belongs to a process that lives.
    assert stored(world.ledger) == []

    copy = path.with_name(f"0-{path.name}")
    copy.write_bytes(path.read_bytes() + b"\0\0")
    world.another().drain()
    assert (stored(world.ledger), spool.files(world.folder)) == (["a", "b", "c"], [path])
    world.intake.drain()
    assert (stored(world.ledger), spool.files(world.folder)) == (["a", "b", "c"], [])


def test_a_signed_request_that_was_stored_or_spooled_before_is_not_stored_again(world: World) -> None:
    signed = [SignedRequest(bytes([n]) * 16, 2.0) for n in range(2)]
    world.intake.accept([event("stored")], 1.0, signed[0])
    world.door.away = True
    # The first answer was lost, and the callers repeat their requests.
    world.intake.accept([event("stored")], 1.0, signed[0])
    for _ in range(2):
        world.intake.accept([event("spooled")], 1.0, signed[1])
    world.intake.drain()
    assert stored(world.ledger) == ["stored", "spooled"]


def test_a_full_spool_refuses_and_keeps_what_it_has(world: World) -> None:
    world.door.away = True
    small = world.another(most_bytes=600)
    taken = 0
    with suppress(LedgerBusyError):
        while taken < 100:
            small.accept([event(f"{taken:03}")], 1.0)
            taken += 1
    assert 0 < taken < 10
    with pytest.raises(LedgerBusyError, match="full"):
        small.accept([event("one more")], 1.0)
    small.drain()
    assert stored(world.ledger) == [f"{n:03}" for n in range(taken)]


@pytest.mark.parametrize("truncates", [True, False])
def test_a_spool_that_cannot_be_written_refuses(
    world: World, monkeypatch: pytest.MonkeyPatch, truncates: bool
) -> None:
    """What was written in part is removed; where that fails, nothing follows it: a new file is used."""
    world.door.away = True
    world.intake.accept([event("a")], 1.0)
    write = spool.os.write

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    with monkeypatch.context() as patch:
        patch.setattr(spool.os, "write", lambda file, data: write(file, data[:7]))
        if not truncates:
            patch.setattr(spool.os, "ftruncate", refuse)
        for _ in range(5 if truncates else 1):
            with pytest.raises(LedgerBusyError, match="cannot be written"):
                world.intake.accept([event("b")], 1.0)
    world.intake.accept([event("c")], 1.0)
    # A disk that is full for hours would otherwise get a file for each refused request.
    assert len(spool.files(world.folder)) == (1 if truncates else 2)
    world.intake.drain()
    assert (stored(world.ledger), spool.files(world.folder)) == (["a", "c"], [])


def test_a_file_that_another_process_deletes_while_it_is_counted_refuses_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.door.away = True
    (world.folder / "drained.spool").write_bytes(b"x")
    scandir = os.scandir

    @contextmanager
    def scan(folder: Path) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(folder) as entries:
            found = list(entries)
        (folder / "drained.spool").unlink(missing_ok=True)
        yield found

    monkeypatch.setattr("worker.collector.spooling.os.scandir", scan)
    assert world.intake.accept([event("a")], 1.0) == []
    assert not (world.folder / "drained.spool").exists()


def test_an_error_that_is_no_outage_is_raised(world: World) -> None:
    def fail(*_: object) -> list[int]:
        raise ValueError("a fault of ours")

    intake = SpoolingIntake(world.ledger, fail, world.folder, 1024**2, len)
    with pytest.raises(ValueError, match="ours"):
        intake.accept([event("a")], 1.0)
    assert spool.files(world.folder) == []


def test_under_steady_traffic_of_many_threads_each_event_comes_once_and_the_spool_ends(world: World) -> None:
    def send(thread: int) -> None:
        for n in range(60):
            world.intake.accept([event(f"{thread}-{n:02}")], 1.0)
            if thread == 0 and n == 20:
                world.door.away = False

    world.door.away = True
    threads = [threading.Thread(target=send, args=(n,)) for n in range(6)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        if not world.door.away:
            world.intake.drain()
    world.intake.drain()

    found = stored(world.ledger)
    assert sorted(found) == sorted(f"{thread}-{n:02}" for thread in range(6) for n in range(60))
    for thread in range(6):
        own = [name for name in found if name.startswith(f"{thread}-")]
        assert own == sorted(own)
    assert spool.files(world.folder) == []
