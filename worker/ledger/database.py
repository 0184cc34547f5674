"""Open the ledger's database, and provide connections for reading and for writing."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, extract, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from worker.ledger import postgresql
from worker.ledger.vault import Vault

_MEASURE_SECONDS = 10.0
# A slower answer says too little about the moment in which the server looked at its clock.
_LONGEST_ANSWER_SECONDS = 1.0


class _SharedClock:
    """Follow another clock without a query for each look. Until it is measured, this machine's clock applies.

    ``look`` returns the other clock's time, or None without an answer. Between two measurements the time runs on
    evenly: a step of this machine's clock changes nothing.
    """

    def __init__(
        self, look: Callable[[], float | None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._look, self._monotonic = look, monotonic
        self._ahead: float | None = None
        self._due_at = float("-inf")
        self._thread: threading.Thread | None = None

    def now(self) -> float:
        """Return the time in Unix seconds; a thread measures it again every few seconds."""
        monotonic_now = self._monotonic()
        if monotonic_now >= self._due_at:
            self._due_at = monotonic_now + _MEASURE_SECONDS
            self._thread = threading.Thread(target=self.measure, name="clock", daemon=True)
            self._thread.start()
        return time.time() if self._ahead is None else monotonic_now + self._ahead

    def finish(self) -> None:
        """Wait a few seconds for a measurement that runs, before its connection is closed."""
        if self._thread is not None:
            self._thread.join(2 * _LONGEST_ANSWER_SECONDS)

    def skew_seconds(self) -> float:
        """Return how far this machine's clock is ahead of the other one; 0 until that is measured."""
        return time.time() - self.now()

    def measure(self) -> None:
        """Look at the other clock; if it does not answer, the last measurement remains."""
        before = self._monotonic()
        self._due_at = before + _MEASURE_SECONDS
        other_time = self._look()
        after = self._monotonic()
        if other_time is not None and after - before <= _LONGEST_ANSWER_SECONDS:
            self._ahead = other_time - (before + after) / 2


# Longer than any wait for the write lock in normal operation, shorter than a caller's patience.
_BUSY_TIMEOUT_SECONDS = 10
# Each SQLite connection's cache. It fills up in time, in every process and thread; the kernel caches the rest
# of the file.
_READER_CACHE_KIB, _WRITER_CACHE_KIB = 2_000, 8_000

# SQLite's BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN and PROTOCOL are temporary.
_SQLITE_AWAY = frozenset({5, 6, 7, 8, 9, 10, 13, 14, 15})


class LedgerBusyError(Exception):
    """The write lock was not free in time."""


class LedgerReadOnlyError(Exception):
    """The database answers and takes no writes."""


class LedgerRefusedError(Exception):
    """An operator must change the database or a setting; the message says what."""


class Ledger:
    """Provide connections to the ledger's database.

    ``read`` gives a plain connection, ``write`` one inside a transaction that commits on leaving. On SQLite a
    write starts with ``BEGIN IMMEDIATE`` behind a file lock: SQLite itself polls for its lock, which is unfair and
    slow if several processes write.
    """

    def __init__(
        self,
        url: str,
        encryption_keys: tuple[str, ...],
        *,
        transaction_pooler: bool = False,
        patience_seconds: float = postgresql.PATIENCE_SECONDS,
    ) -> None:
        """Open nothing yet; ``patience_seconds`` limits a statement on PostgreSQL.

        With ``transaction_pooler`` nothing is left in a session: a pooler gives the next transaction another one.
        """
        self.url = make_url(url)
        self.transaction_pooler = transaction_pooler
        self._local_settings: dict[str, str] = {}
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._pooler_is_known = self.is_sqlite
        if self.is_sqlite:
            self._reader, self._writer = self._sqlite_engines()
            self._gate: _Gate | None = _Gate(Path(f"{self.url.database}.lock"))
        else:
            self._writer = postgresql.open_engine(
                self.url, patience_seconds, transaction_pooler=transaction_pooler
            )
            if transaction_pooler:
                self._local_settings = postgresql.limits(patience_seconds)
            # Autocommit: a transaction's begin and end would be two more round trips, and psycopg drops its prepared
            # statements at every rollback.
            self._reader = self._writer.execution_options(isolation_level="AUTOCOMMIT")
            self._gate = None
        self._clock = None if self.is_sqlite else _SharedClock(self._server_time)
        self._thread = threading.local()
        self.vault = Vault(self, encryption_keys)

    def ping(self) -> None:
        """Check that the database answers and takes writes. The exception says why not."""
        with self.read() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("SELECT 1")
            elif postgresql.refuses_writes(connection):
                raise LedgerReadOnlyError("the database takes no writes")

    def now(self) -> float:
        """Return the time that decides leases, due times and rates: the server's, on SQLite this host's."""
        return time.time() if self._clock is None else self._clock.now()

    def clock_skew_seconds(self) -> float:
        """Return how far this host's clock is ahead of the server's."""
        return 0.0 if self._clock is None else self._clock.skew_seconds()

    def measure_clock(self) -> None:
        """Look at the server's clock now; `now` then does not begin with this machine's."""
        if self._clock is not None:
            self._clock.measure()

    def _server_time(self) -> float | None:
        try:
            with self.read() as connection:
                return float(connection.scalar(select(extract("epoch", func.clock_timestamp()))) or 0.0)
        except Exception as error:
            if not is_ledger_unavailable(error):
                raise
            return None

    def refuse_transaction_pooler(self) -> None:
        """Check once that each connection keeps its session, or each transaction if the setting says so.

        Raises:
            LedgerRefusedError: a pooler is between this process and the server, and no setting says so, or it shares
                sessions between single statements.
        """
        if self._pooler_is_known:
            return
        try:
            shares_sessions = not self.transaction_pooler and postgresql.changes_sessions(self._reader)
            with self._writer.begin() as connection:
                connection.exec_driver_sql("SELECT 1")
        except DBAPIError as error:
            refusal = postgresql.refused_by_pooler(error)
            if refusal == "transactions":
                raise LedgerRefusedError(
                    "DATABASE_URL leads to a connection pooler that allows no transactions: set its pool_mode to "
                    "transaction and DATABASE_POOLER=transaction here, or connect to the server itself."
                ) from None
            if self.transaction_pooler or refusal is None:
                raise
            shares_sessions = True
        if shares_sessions:
            raise LedgerRefusedError(
                "DATABASE_URL leads to a connection pooler that shares sessions of the server, like PgBouncer: "
                "set DATABASE_POOLER=transaction, or connect to the server itself."
            )
        self._pooler_is_known = True

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Provide a connection for reading."""
        with self._reader.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Provide a connection on which every statement sees the same snapshot."""
        # A reading transaction of SQLite is a snapshot already.
        engine = self._reader
        if not self.is_sqlite:
            engine = self._writer.execution_options(isolation_level="REPEATABLE READ")
        with engine.connect() as connection:
            if not self.is_sqlite:
                # It holds no locks, and a report may work for long between two queries.
                connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '600s'")
            yield connection

    @contextmanager
    def write(self, *, one_statement: bool = False) -> Iterator[Connection]:
        """Provide a connection inside one transaction. An exception rolls it back.

        If it has only ``one_statement``, PostgreSQL needs no further round trips for its begin and its commit.

        Raises:
            LedgerBusyError: the write lock was not free in time.
        """
        if self.is_writing:
            raise RuntimeError("a write inside a write would wait for itself")
        gate = self._gate.passed() if self._gate is not None else nullcontext()
        commits_itself = one_statement and not self.is_sqlite and not self._local_settings
        with gate, self._reader.connect() if commits_itself else self._writer.begin() as connection:
            self._thread.writing = True
            try:
                self._set_locally(connection)
                yield connection
            finally:
                self._thread.writing = False

    @property
    def is_writing(self) -> bool:
        """Return whether the calling thread is inside a write."""
        return getattr(self._thread, "writing", False)

    @property
    def write_engine(self) -> Engine:
        """Return the engine that migrations run on."""
        return self._writer

    def dispose(self) -> None:
        """Close every connection."""
        if self._clock is not None:
            self._clock.finish()
        self._reader.dispose()
        self._writer.dispose()

    def _set_locally(self, connection: Connection) -> None:
        if self._local_settings:
            calls = (func.set_config(name, value, True) for name, value in self._local_settings.items())
            connection.execute(select(*calls))

    def _sqlite_engines(self) -> tuple[Engine, Engine]:
        Path(self.url.database or "").parent.mkdir(parents=True, exist_ok=True)
        arguments: dict[str, Any] = {"check_same_thread": False, "timeout": _BUSY_TIMEOUT_SECONDS}
        # The parameters contain ids of people, which an error must not write into a log.
        options = {"connect_args": arguments, "hide_parameters": True}
        reader = create_engine(self.url, pool_size=10, max_overflow=30, **options)
        # There is one writer at a time, so one connection is enough.
        writer = create_engine(self.url, pool_size=1, max_overflow=4, **options)
        for engine, begin, cache_kib in (
            (reader, "BEGIN", _READER_CACHE_KIB),
            (writer, "BEGIN IMMEDIATE", _WRITER_CACHE_KIB),
        ):
            event.listen(engine, "connect", _prepare_sqlite(cache_kib))
            event.listen(engine, "begin", _begin_with(begin))
        return reader, writer


def is_ledger_unavailable(error: BaseException) -> bool:
    """Return whether an exception means that the database is unavailable, not that the data is wrong."""
    if isinstance(error, LedgerBusyError | LedgerReadOnlyError | PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    sqlite_code = getattr(error.orig, "sqlite_errorcode", None)
    if sqlite_code is not None:
        # The low byte is the kind of error. A missing table or a wrong statement is not an outage.
        return sqlite_code & 0xFF in _SQLITE_AWAY
    if postgresql.is_read_only(error):
        return True
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def _prepare_sqlite(cache_kib: int) -> Any:
    def prepare(connection: Any, _record: Any) -> None:
        # Python's driver must not start transactions: `_begin_with` does.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            # Accepted events must be on disk even after a power failure.
            "synchronous=FULL",
            f"busy_timeout={_BUSY_TIMEOUT_SECONDS * 1000}",
            f"cache_size=-{cache_kib}",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return prepare


def _begin_with(statement: str) -> Any:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    return begin


class _Gate:
    """Let one thread of one process write at a time, roughly in the order of arrival."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()

    @contextmanager
    def passed(self) -> Iterator[None]:
        if not self._threads.acquire(timeout=_BUSY_TIMEOUT_SECONDS):
            raise LedgerBusyError("the ledger's write lock was not free in time")
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _lock_within(descriptor, _BUSY_TIMEOUT_SECONDS)
            except BaseException:
                # A thread that still waits for the lock has its own copy.
                os.close(descriptor)
                raise
            try:
                yield
            finally:
                # Unlocked explicitly: a child that was forked meanwhile has the file open, too.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)
        finally:
            self._threads.release()


def _lock_within(descriptor: int, seconds: float) -> None:
    """Lock a file, or raise `LedgerBusyError`.

    The kernel queues waiting processes fairly, but has no time limit; polling made the slowest 1 % wait ten times
    as long. So a thread waits, and may be left behind.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        pass
    grant: Future[None] = Future()
    threading.Thread(target=_wait_for_lock, args=(os.dup(descriptor), grant), daemon=True).start()
    try:
        grant.result(seconds)
    except BaseException as error:
        if not grant.cancel():
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        if isinstance(error, TimeoutError):
            raise LedgerBusyError("another process held the ledger's write lock for too long") from None
        raise


def _wait_for_lock(descriptor: int, grant: "Future[None]") -> None:
    # The copy shares its lock with the original descriptor.
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if grant.set_running_or_notify_cancel():
        grant.set_result(None)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
