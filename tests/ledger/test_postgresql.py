"""Connections to PostgreSQL are disposable: a read-only, silent or frozen end costs seconds."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from tests.chaos.wire import Fault, Wire, broken, wired
from tests.conftest import KEY
from tests.ledger.pooler import pgbouncer
from tests.ledger.shop import NOW, RATE, accept, pend, place, stand
from worker.collector.intake import GroupCommit
from worker.ledger import migrate, postgresql
from worker.ledger.database import Ledger, LedgerReadOnlyError, LedgerRefusedError, is_ledger_unavailable
from worker.ledger.delivery import new_batches
from worker.ledger.delivery.new_batches import BatchGroup
from worker.ledger.intake.inbox import Accepted
from worker.ledger.schema import batch
from worker.ledger.setup import integrations
from worker.monitoring import checks
from worker.monitoring.checks import State
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.settings import parse

pytestmark = pytest.mark.services
_SESSION = text("SELECT pg_backend_pid()")
_WRITE = text("INSERT INTO watermark (name, position, at) VALUES ('written', 0, 0)")
_TURN_READ_ONLY = text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
TRACK = {"type": "track", "event": "Signed Up", "context": {"ip": "203.0.113.5", "userAgent": "Mozilla/5.0"}}


@pytest.fixture
def lent(postgresql_url: str) -> Iterator[Ledger]:
    ledger = Ledger(postgresql_url, (KEY,))
    ledger.vault.prepare()
    yield ledger
    ledger.dispose()


def with_options(url: str, **options: str) -> str:
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)


def test_a_connection_that_turns_read_only_is_replaced_with_its_whole_pool(lent: Ledger) -> None:
    with lent.read() as one, lent.read() as other:
        before = {one.scalar(_SESSION), other.scalar(_SESSION)}
        one.execute(_TURN_READ_ONLY)
        other.execute(_TURN_READ_ONLY)
    with pytest.raises(DBAPIError) as caught, lent.write() as connection:
        connection.execute(_WRITE)
    assert is_ledger_unavailable(caught.value)
    with lent.write() as connection, lent.read() as other:
        connection.execute(_WRITE)
        assert not before & {connection.scalar(_SESSION), other.scalar(_SESSION)}


def test_an_idle_connection_that_turned_read_only_is_replaced_before_a_write_fails(
    lent: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lent.read() as one:
        one.execute(_TURN_READ_ONLY)
    monkeypatch.setattr(postgresql, "_IDLE_SECONDS", 0.0)
    with lent.write() as connection:
        connection.execute(_WRITE)


def test_a_server_that_takes_no_writes_is_not_ready(bare_postgresql_url: str) -> None:
    ledger = Ledger(bare_postgresql_url, (KEY,))
    assert checks.check_database(ledger).state is State.OK
    with ledger.read() as connection:
        connection.execute(_TURN_READ_ONLY)
    with pytest.raises(LedgerReadOnlyError):
        ledger.ping()
    ledger.dispose()
    with ledger.read() as connection:
        name = ledger.url.database
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    ledger.dispose()
    found = checks.check_database(ledger)
    assert (found.state, "takes no writes" in found.message) == (State.FAILED, True)
    ledger.dispose()


@pytest.fixture
def wire(postgresql_url: str) -> Iterator[tuple[Ledger, Wire]]:
    """Lend a ledger whose server may fall silent."""
    server = make_url(postgresql_url)
    with wired((server.host or "", server.port or 5432)) as line:
        url = server.set(host="127.0.0.1", port=line.port).render_as_string(hide_password=False)
        ledger = Ledger(url, (KEY,), patience_seconds=2.0)
        ledger.vault.prepare()
        yield ledger, line
        ledger.dispose()


def test_a_server_that_falls_silent_is_given_up_and_found_again(
    wire: tuple[Ledger, Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, line = wire
    monkeypatch.setattr(postgresql, "_PING_SECONDS", 0.5)
    with broken(line, Fault(silent=True)):
        began = time.monotonic()
        with pytest.raises(OperationalError) as caught, ledger.write() as connection:
            connection.execute(_WRITE)
        assert is_ledger_unavailable(caught.value)
        assert checks.check_database(ledger).state is State.FAILED
        assert time.monotonic() - began < 8.0
    with ledger.write() as connection:
        connection.execute(_WRITE)


def test_callers_of_a_silent_server_all_get_their_answer_within_ten_seconds(
    wire: tuple[Ledger, Wire],
) -> None:
    ledger, line = wire
    commit = GroupCommit(ledger)
    commit.accept([event(0)], 1.0)

    def seconds(number: int) -> float:
        time.sleep(number * 0.2)
        began = time.monotonic()
        with pytest.raises(Exception) as caught:  # noqa: PT011
            commit.accept([event(number)], 1.0)
        assert is_ledger_unavailable(caught.value)
        return time.monotonic() - began

    with broken(line, Fault(silent=True)), ThreadPoolExecutor(8) as pool:
        assert max(pool.map(seconds, range(1, 9))) < 10.0


def event(number: int) -> Accepted:
    return Accepted("shop", None, None, False, 1.0, b"%d" % number)


_FREEZE = """
import sys, time
from sqlalchemy import text
from worker.ledger.database import Ledger
with Ledger(sys.argv[1], ("ab" * 32,)).write() as connection:
    connection.execute(text("UPDATE watermark SET at = 1"))
    print("holds it", flush=True)
    time.sleep(60)
"""


def test_a_process_that_is_frozen_in_a_transaction_loses_its_locks(lent: Ledger, postgresql_url: str) -> None:
    with lent.write() as connection:
        connection.execute(_WRITE)
        shown = connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
    assert shown == "15s"
    url = with_options(postgresql_url, options="-c idle_in_transaction_session_timeout=1s")
    with subprocess.Popen([sys.executable, "-c", _FREEZE, url], stdout=subprocess.PIPE) as frozen:
        assert frozen.stdout is not None
        assert frozen.stdout.readline() == b"holds it\n"
        frozen.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with lent.write() as connection:
            connection.execute(text("UPDATE watermark SET at = 2"))
        assert time.monotonic() - began < 5.0
        frozen.kill()


@pytest.mark.parametrize("form", ["127.0.0.1:1,127.0.0.1:{port}", "?host=127.0.0.1,127.0.0.1&port=1,{port}"])
def test_of_several_hosts_the_one_that_takes_writes_is_used(lent: Ledger, form: str, tmp_path: Path) -> None:
    hosts = form.format(port=lent.url.port)
    mark = "&" if "?" in hosts else "?"
    place_, options = ("", hosts) if hosts.startswith("?") else (hosts, "")
    given = (
        f"postgresql://{lent.url.username}@{place_}/{lent.url.database}{options}{mark}application_name=two"
    )
    ledger = Ledger(parse({"DATABASE_URL": given, "SIGNAL_VAR": str(tmp_path)}).database_url, (KEY,))
    ledger.ping()
    with ledger.read() as connection:
        assert connection.scalar(text("SHOW application_name")) == "two"
    ledger.dispose()


@pytest.mark.parametrize("ignored", ["", "options"])
@pytest.mark.parametrize("connections", [1, 4])
def test_a_start_behind_a_transaction_pooler_is_refused_until_a_setting_names_it(
    postgresql_url: str, ignored: str, connections: int
) -> None:
    with pgbouncer(postgresql_url, "transaction", connections, ignored) as url:
        ledger = Ledger(url, (KEY,))
        with pytest.raises(LedgerRefusedError, match="DATABASE_POOLER=transaction"):
            migrate.check_version(ledger)
        found = checks.check_database(ledger)
        assert (found.state, "DATABASE_POOLER" in found.message) == (State.FAILED, True)
        ledger.dispose()
        named = Ledger(url, (KEY,), transaction_pooler=True)
        migrate.check_version(named)
        assert checks.check_database(named).state is State.OK
        named.dispose()


@pytest.mark.parametrize("is_named", [False, True])
def test_a_pooler_that_allows_no_transactions_is_refused(postgresql_url: str, is_named: bool) -> None:
    with pgbouncer(postgresql_url, "statement", 4, "options") as url:
        ledger = Ledger(url, (KEY,), transaction_pooler=is_named)
        with pytest.raises(
            LedgerRefusedError, match="allows no transactions: set its pool_mode to transaction"
        ):
            migrate.check_version(ledger)
        found = checks.check_database(ledger)
        assert (found.state, "pool_mode" in found.message) == (State.FAILED, True)
        ledger.dispose()


def test_a_pooler_that_keeps_sessions_is_accepted(postgresql_url: str) -> None:
    with pgbouncer(postgresql_url, "session", 4, "options") as url:
        ledger = Ledger(url, (KEY,))
        migrate.check_version(ledger)
        ledger.dispose()


def test_behind_a_transaction_pooler_threads_share_few_sessions_without_an_error(postgresql_url: str) -> None:
    with pgbouncer(postgresql_url, "transaction", 2, "") as url:
        ledger = Ledger(url, (KEY,), transaction_pooler=True)
        ledger.vault.prepare()
        shop = place(ledger)

        def work(number: int) -> int:
            ids = accept(ledger, [TRACK | {"messageId": f"m{number}_{n}"} for n in range(10)])
            return int(ingest(ledger, ids)["mapped"])

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(work, range(16))) == 160
        pend(ledger, shop, 5)
        assert sum(stand(ledger).values()) == 165
        with ledger.write() as connection:
            assert connection.scalar(text("SHOW statement_timeout")) == "1min"
        ledger.dispose()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_text_is_refused_before_a_table_is_made(
    bare_postgresql_url: str, encoding: str
) -> None:
    server = Ledger(bare_postgresql_url, (KEY,))
    name = f"{server.url.database}_{encoding.lower()}"
    create = f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    with server.read() as connection:
        connection.execute(text(create))
    ledger = Ledger(server.url.set(database=name).render_as_string(hide_password=False), (KEY,))
    with pytest.raises(LedgerRefusedError, match=f"has the encoding {encoding}.*ENCODING 'UTF8'"):
        migrate.migrate(ledger)
    with ledger.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) == 0
    ledger.dispose()
    with server.read() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    server.dispose()


def test_a_batch_that_is_created_while_the_token_changes_gets_the_new_one(lent: Ledger) -> None:
    shop = place(lent)
    pend(lent, shop, 3)

    def change_token() -> int:
        with lent.write() as connection:
            changed = integrations.update_integration(
                connection, lent.vault, shop, rate=RATE, new_token="pina_new", now=NOW
            )
        return changed.credential_id

    with ThreadPoolExecutor() as pool:
        with lent.write() as connection:
            group = BatchGroup(shop.credential_id, shop.ad_account, test=False, offline=False)
            batch_id = new_batches.claim_batch(connection, group, 24, NOW)
            changing = pool.submit(change_token)
            time.sleep(0.5)
        new = changing.result(10)
    with lent.read() as connection:
        assert connection.scalar(select(batch.c.credential_id).where(batch.c.id == batch_id)) == new
