"""The vault seals, opens only what it may, and survives a rotation of its keys."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import NoReturn

import pytest
from freezegun import freeze_time
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from tests.conftest import KEY
from worker.ledger.database import Ledger
from worker.ledger.schema import data_key
from worker.ledger.vault import SealError

OTHER_KEY = "cd" * 32
DAY_ONE, DAY_TWO = "2026-01-01 12:00:00", "2026-01-02 12:00:00"


@pytest.fixture
def reopen(ledger_url: str) -> Callable[..., Ledger]:
    def opened(*keys: str) -> Ledger:
        return Ledger(ledger_url, keys)

    return opened


def data_keys(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return connection.scalar(select(func.count()).where(data_key.c.purpose == "data")) or 0


def flip_last_bit(sealed: bytes) -> bytes:
    return sealed[:-1] + bytes([sealed[-1] ^ 1])


def test_a_sealed_text_opens_again(ledger: Ledger) -> None:
    assert ledger.vault.open(ledger.vault.seal(b"an order", b"inbox"), b"inbox") == b"an order"


def test_at_midnight_in_an_outage_yesterday_s_key_seals(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with freeze_time(DAY_ONE):
        ledger.vault.seal(b"an order", b"inbox")
    before = data_keys(ledger)
    with freeze_time(DAY_TWO) as clock:
        with monkeypatch.context() as patch:
            looks: list[None] = []
            patch.setattr(ledger, "read", lambda: looks.append(None) or fail())
            # Each look may wait for seconds, and a batch has 500 events.
            sealed = [ledger.vault.seal(b"an order", b"inbox") for _ in range(3)][-1]
            assert len(looks) == 1
        assert (ledger.vault.open(sealed, b"inbox"), data_keys(ledger)) == (b"an order", before)
        clock.tick(31)
        ledger.vault.seal(b"an order", b"inbox")
        assert data_keys(ledger) == before + 1


def fail() -> NoReturn:
    raise OperationalError("SELECT", {}, Exception("the server closed the connection"))


def test_two_seals_of_one_text_differ(ledger: Ledger) -> None:
    assert ledger.vault.seal(b"same", b"inbox") != ledger.vault.seal(b"same", b"inbox")


def test_a_text_does_not_open_for_another_purpose(ledger: Ledger) -> None:
    with pytest.raises(SealError, match="belongs elsewhere"):
        ledger.vault.open(ledger.vault.seal(b"an order", b"inbox"), b"payload")


@pytest.mark.parametrize(
    "broken", [b"", b"\0" * 3, b"\xff" * 60, b"\0\0\0\1" + b"x" * 3, b"\0\0\0\1" + b"x" * 40]
)
def test_a_changed_text_is_refused(ledger: Ledger, broken: bytes) -> None:
    with pytest.raises(SealError):
        ledger.vault.open(broken, b"inbox")


def rewrap(ledger: Ledger) -> int:
    with ledger.write() as connection:
        return ledger.vault.rewrap(connection)


def test_a_missing_key_is_reported_and_nothing_is_discarded(
    ledger: Ledger, reopen: Callable[..., Ledger]
) -> None:
    sealed = ledger.vault.seal(b"an order", b"inbox")
    stranger = reopen(OTHER_KEY)
    for attempt in (
        lambda: stranger.vault.open(sealed, b"inbox"),
        stranger.vault.check,
        lambda: rewrap(stranger),
    ):
        with pytest.raises(SealError, match="ENCRYPTION_KEY lacks the key"):
            attempt()
    stranger.dispose()
    assert ledger.vault.open(sealed, b"inbox") == b"an order"


@pytest.mark.parametrize(
    "change",
    [lambda wrapped: wrapped[:4], lambda wrapped: wrapped[:-1], flip_last_bit],
    ids=["its beginning alone", "its end is missing", "one bit"],
)
def test_a_changed_key_is_reported(ledger: Ledger, change: Callable[[bytes], bytes]) -> None:
    with ledger.write() as connection:
        wrapped = connection.scalars(select(data_key.c.wrapped)).first() or b""
        connection.execute(update(data_key).values(wrapped=change(wrapped)))
    with pytest.raises(SealError, match="was changed"):
        ledger.vault.check()


def test_a_rotation_keeps_sealed_texts_and_keyed_hashes(
    ledger: Ledger, reopen: Callable[..., Ledger]
) -> None:
    sealed, hashed = ledger.vault.seal(b"an order", b"inbox"), ledger.vault.keyed_hash("visitor", "v1")
    both = reopen(OTHER_KEY, KEY)
    assert both.vault.open(sealed, b"inbox") == b"an order"
    # Today's key and the key for hashes.
    assert rewrap(both) == 2
    assert rewrap(both) == 0
    both.dispose()
    rotated = reopen(OTHER_KEY)
    rotated.vault.check()
    assert rotated.vault.open(sealed, b"inbox") == b"an order"
    assert hashed == rotated.vault.keyed_hash("visitor", "v1")
    rotated.dispose()


def test_a_new_key_wraps_nothing_before_a_rotation(ledger: Ledger, reopen: Callable[..., Ledger]) -> None:
    """While processes restart one after another, some have only the old key."""
    both = reopen(OTHER_KEY, KEY)
    with freeze_time(DAY_ONE):
        sealed = both.vault.seal(b"an order", b"inbox")
    late = reopen(KEY)
    late.vault.check()
    assert late.vault.open(sealed, b"inbox") == b"an order"
    rewrap(both)
    with freeze_time(DAY_TWO):
        sealed = both.vault.seal(b"an order", b"inbox")
    rotated = reopen(OTHER_KEY)
    assert rotated.vault.open(sealed, b"inbox") == b"an order"
    for one in (both, late, rotated):
        one.dispose()


def test_keyed_hashes_separate_their_parts(ledger: Ledger) -> None:
    hashes = {ledger.vault.keyed_hash(*parts) for parts in (("a", "bc"), ("ab", "c"), ("a", "b", "c"))}
    assert len(hashes) == 3
    assert {16} == {len(one) for one in hashes}


def test_a_new_day_has_a_new_key_and_the_old_one_still_opens(ledger: Ledger) -> None:
    with freeze_time(DAY_ONE):
        first = ledger.vault.seal(b"one", b"inbox")
    before = data_keys(ledger)
    with freeze_time(DAY_TWO):
        second = ledger.vault.seal(b"two", b"inbox")
        assert ledger.vault.open(first, b"inbox") == b"one"
    assert before + 1 == data_keys(ledger)
    assert first[:4] != second[:4]


def test_threads_that_need_todays_key_at_once_get_one(ledger_url: str) -> None:
    ledger = Ledger(ledger_url, (KEY,))
    together = Barrier(8)

    def seal(_: int) -> bytes:
        together.wait()
        return ledger.vault.seal(b"x", b"inbox")[:4] + ledger.vault.keyed_hash("x")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(seal, range(8)))) == 1
    assert data_keys(ledger) == 1
    ledger.dispose()


def _seal_in_a_process(url: str) -> tuple[int, bytes]:
    ledger = Ledger(url, (KEY,))
    sealed = ledger.vault.seal(b"x", b"inbox")[:4] + ledger.vault.keyed_hash("x")
    ledger.dispose()
    return os.getpid(), sealed


def test_processes_that_need_todays_key_at_once_get_one(ledger_url: str) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        seals = {sealed for _, sealed in pool.map(_seal_in_a_process, [ledger_url] * 4, chunksize=1)}
    assert len(seals) == 1


def test_sealing_inside_a_write_just_after_midnight_does_not_wait(ledger: Ledger) -> None:
    with freeze_time(DAY_ONE):
        ledger.vault.prepare()
    with freeze_time(DAY_TWO), ledger.write():
        sealed = ledger.vault.seal(b"an order", b"inbox")
    assert ledger.vault.open(sealed, b"inbox") == b"an order"


def test_sealing_inside_a_write_without_a_key_fails_at_once(ledger_url: str) -> None:
    ledger = Ledger(ledger_url, (KEY,))
    with ledger.write(), pytest.raises(RuntimeError, match="a write inside a write"):
        ledger.vault.seal(b"an order", b"inbox")
    ledger.dispose()
