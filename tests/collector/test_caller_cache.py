"""A collector knows the sources and seals events without the database, from a file that it wrote before."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time
from sqlalchemy import insert
from sqlalchemy.exc import OperationalError
from werkzeug.datastructures import Headers

from tests.ledger import shop as shops
from worker.collector.caller_cache import RememberedSources
from worker.collector.callers import Callers
from worker.collector.gateway import _AllDomains
from worker.collector.intake import GroupCommit
from worker.collector.spooling import SpoolingIntake
from worker.http.signature import sign
from worker.ledger.database import Ledger, LedgerBusyError, LedgerRefusedError
from worker.ledger.intake import spool
from worker.ledger.intake.inbox import Accepted
from worker.ledger.migrate import migrate
from worker.ledger.schema import pipeline_key
from worker.ledger.setup import sources
from worker.ledger.vault import MissingKeyError

KEY = "00" * 32
AWAY = "postgresql+psycopg://root@127.0.0.1:1/nothing"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "spool"
    made.mkdir()
    return made


@pytest.fixture
def known(ledger: Ledger, folder: Path) -> RememberedSources:
    """Write the file of a ledger with one source."""
    ledger.vault.prepare()
    shops.place(ledger)
    with ledger.write() as connection:
        one = sources.load_source(connection, "src_shop")
        assert one is not None
        sources.update_source(connection, replace(one, domains=("shop.example",)), 2.0)
        rows = [("dk_live_good", None), ("dk_live_expired", time.time() - 1)]
        values = [
            {"key": key, "source_id": "src_shop", "created_at": 1.0, "expires_at": at} for key, at in rows
        ]
        connection.execute(insert(pipeline_key), values)
        sources.set_server_secret(connection, ledger.vault, "src_shop", "whsec_1", 1.0)
    remembered = RememberedSources(ledger, folder)
    remembered.write()
    return remembered


@pytest.fixture
def cut_off() -> Iterator[Ledger]:
    """Lend a ledger whose database does not answer."""
    ledger = Ledger(AWAY, (KEY,))
    yield ledger
    ledger.dispose()


def starting(ledger: Ledger, folder: Path) -> SpoolingIntake:
    return SpoolingIntake(ledger, GroupCommit(ledger).accept, folder, 1024**2, len)


def outage(ledger: Ledger) -> Exception:
    with pytest.raises(OperationalError) as raised:
        ledger.ping()
    return raised.value


@pytest.mark.usefixtures("known")
def test_a_collector_that_starts_in_an_outage_knows_its_callers_and_seals_for_the_ledger(
    ledger: Ledger, cut_off: Ledger, folder: Path
) -> None:
    intake = starting(cut_off, folder)
    assert intake.start_without_ledger(outage(cut_off))
    callers = Callers(cut_off, time.time, intake)
    assert callers.by_key("dk_live_good").source.page_origins == ("shop.example",)
    assert _AllDomains(cut_off, time.time, intake).get() == {"example.com", "shop.example"}
    stamp = str(int(time.time() * 1000))
    headers = Headers({"X-Timestamp": stamp, "X-Source-Id": "src_shop"})
    headers["X-Signature"] = sign("whsec_1", stamp, b"body")
    assert callers.by_signature(headers, b"body").signed
    assert callers.by_write_key(sources.write_key("src_shop", "whsec_1")).source.id == "src_shop"
    for unknown in ("dk_live_expired", "dk_live_new"):
        # It may be newer than the file: its caller gets 503, not 401.
        with pytest.raises(LedgerBusyError):
            callers.by_key(unknown)

    assert ledger.vault.open(cut_off.vault.seal(b"an order", b"inbox"), b"inbox") == b"an order"
    assert cut_off.vault.keyed_hash("user", "a") == ledger.vault.keyed_hash("user", "a")
    assert intake.accept([Accepted("src_shop", None, None, False, 1.0, b"")], 1.0) == []
    assert spool.count_spooled(folder).events == 1


def test_what_is_spooled_since_the_start_waits_until_the_ledger_is_checked(
    known: RememberedSources, folder: Path, tmp_path: Path
) -> None:
    bare = Ledger(f"sqlite:///{tmp_path / 'bare.db'}", (KEY,))
    intake = starting(bare, folder)
    assert intake.start_without_ledger(LedgerBusyError("away"))
    intake.accept([Accepted("src_shop", None, None, False, 1.0, b"")], 1.0)
    with pytest.raises(LedgerRefusedError, match="migrate"):
        intake.drain()
    migrate(bare)
    intake.drain()
    assert spool.files(folder) == []
    bare.dispose()


def test_a_collector_does_not_start_without_a_file_that_is_new_enough_and_that_its_key_opens(
    known: RememberedSources, cut_off: Ledger, folder: Path
) -> None:
    other = Ledger(AWAY, ("cd" * 32,))
    with pytest.raises(MissingKeyError):
        starting(other, folder).start_without_ledger(LedgerBusyError("away"))
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert all(secret not in path.read_bytes() for secret in (b"whsec_1", b"dk_live_good"))
    for age_seconds, starts in ((7 * 86_400 - 60, True), (7 * 86_400 + 60, False)):
        os.utime(path, (time.time() - age_seconds,) * 2)
        assert starting(cut_off, folder).start_without_ledger(LedgerBusyError("away")) is starts
    path.write_bytes(b'{"keys": ')
    assert not starting(cut_off, folder).start_without_ledger(LedgerBusyError("away"))
    path.unlink()
    assert not starting(cut_off, folder).start_without_ledger(LedgerBusyError("away"))


def test_a_file_that_another_process_sealed_after_midnight_opens(
    known: RememberedSources, ledger: Ledger, folder: Path
) -> None:
    mine = Ledger(AWAY, (KEY,))
    mine.vault.use_keys(ledger.vault.wrapped_keys())
    (path,) = folder.iterdir()
    path.unlink()
    with freeze_time(datetime.now(UTC) + timedelta(days=1)):
        known.write()
    assert RememberedSources(mine, folder).of_key("dk_live_good") is not None
    mine.dispose()


def test_the_file_is_written_again_each_minute(
    known: RememberedSources, ledger: Ledger, folder: Path
) -> None:
    with ledger.write() as connection:
        sources.add_key(connection, "src_shop", "dk_live_new", 1.0)
    known.write()
    assert known.of_key("dk_live_new") is None
    (path,) = folder.iterdir()
    os.utime(path, (time.time() - 61,) * 2)
    known.write()
    assert known.of_key("dk_live_new") is not None
