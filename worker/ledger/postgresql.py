"""Connect to PostgreSQL so that every connection is disposable: a silent or read-only server is noticed in seconds."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import psycopg
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

# A connection used within this time is not tested. If the server has ended, the next statement fails, as it would
# in the middle of a transaction, and all other connections are replaced, too.
_IDLE_SECONDS = 2.0
# How long a statement may take; the server ends it a little earlier, if it still can.
PATIENCE_SECONDS = 65.0
# How long the test of an idle connection may take, and how long connecting may take, with all hosts together.
_PING_SECONDS, _CONNECT_SECONDS = 3.0, 4
# A server that became a replica accepts no writes; the next connection finds the new primary.
_READ_ONLY = "25006"
_IS_READ_ONLY = "SHOW transaction_read_only"
_SESSION = {
    # Plan prepared statements for their values: a generic plan follows statistics, which are wrong during an outage.
    "plan_cache_mode": "force_custom_plan",
    # The server notices within seconds that a client's host has vanished, and releases its locks.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
# What poolers answer to settings at the start of a connection.
_REFUSES_OPTIONS = re.compile(r"unsupported startup parameter|command-line options")


def is_read_only(error: BaseException) -> bool:
    """Return whether an error says that the server takes no writes."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) == _READ_ONLY or "session is read-only" in str(cause)


class _Connection(psycopg.Connection[Any]):
    """Give up a server that does not answer: the network reports nothing if a host vanishes."""

    patience_seconds: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or self.patience_seconds)
        except psycopg.errors._WaitTimeout:
            # An answer that comes later would be taken for that of the next statement.
            self.pgconn.finish()
            raise psycopg.OperationalError("the server did not answer in time") from None


class _ArrayDumper(ListBinaryDumper):
    """Dump one value for all where they are equal, as in most columns of a bulk: the driver dumps each in Python."""

    def dump(self, obj: list[Any]) -> Any:
        if len(obj) < 2 or isinstance(obj[0], list) or obj.count(obj[0]) < len(obj):
            return super().dump(obj)
        # Before the values there are five numbers of four bytes; the fourth is how many values follow.
        one = bytes(super().dump(obj[:1]) or b"")
        return one[:12] + len(obj).to_bytes(4, "big") + one[16:20] + one[20:] * len(obj)


@contextmanager
def _hurried(connection: Any) -> Iterator[None]:
    """Wait only a few seconds for each answer on a driver's connection."""
    patience, connection.patience_seconds = connection.patience_seconds, _PING_SECONDS
    try:
        yield
    finally:
        connection.patience_seconds = patience


def open_engine(url: URL, patience_seconds: float, *, transaction_pooler: bool) -> Engine:
    """Return an engine; ``patience_seconds`` limits each statement."""
    engine = create_engine(
        url,
        # This many threads of a delivery process use the database at once. More threads would open and close
        # connections, which costs the server more than their queries.
        pool_size=24,
        max_overflow=16,
        pool_timeout=_CONNECT_SECONDS + _PING_SECONDS,
        hide_parameters=True,
        connect_args=_connect_arguments(url, patience_seconds, transaction_pooler=transaction_pooler),
    )
    _connect_with(engine, patience_seconds)
    event.listen(engine, "handle_error", _discard_if_read_only)
    _ping_after_a_rest(engine)
    return engine


@contextmanager
def unhurried_connection(url: URL, *, transaction_pooler: bool) -> Iterator[Connection]:
    """Provide a connection in autocommit mode whose statements may take and wait as long as they need."""
    arguments = _connect_arguments(url, None, transaction_pooler=transaction_pooler)
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)
    _connect_with(engine, None)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def limits(patience_seconds: float | None) -> dict[str, str]:
    """Return how long statements of a session may wait and take; without a patience as long as they need."""
    if patience_seconds is None:
        return dict.fromkeys(
            ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"), "0"
        )
    statement_seconds = min(60, max(1, int(patience_seconds) - 1))
    return {
        "lock_timeout": f"{min(10, max(1, statement_seconds - 1))}s",
        "statement_timeout": f"{statement_seconds}s",
        # A process that was frozen in a transaction holds its locks no longer.
        "idle_in_transaction_session_timeout": "15s",
    }


def _connect_arguments(
    url: URL, patience_seconds: float | None, *, transaction_pooler: bool
) -> dict[str, Any]:
    hosts = str(url.query.get("host", "")).count(",") + 1
    defaults: dict[str, Any] = {
        # As a database in SQL_ASCII has no encoding, its text would arrive as bytes.
        "client_encoding": "utf8",
        "connect_timeout": max(2, _CONNECT_SECONDS // hosts),
        # Of several hosts, and after a switchover, the one that takes writes.
        "target_session_attrs": "read-write",
        "keepalives": 1,
        "keepalives_idle": 4,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 7_000,
    }
    arguments = {name: value for name, value in defaults.items() if name not in url.query}
    if transaction_pooler:
        # The next transaction of a client may run in another session of the server.
        return arguments | {"prepare_threshold": None}
    options = " ".join(f"-c {name}={value}" for name, value in (_SESSION | limits(patience_seconds)).items())
    return arguments | {"options": f"{options} {url.query.get('options', '')}".strip()}


def _connect_with(engine: Engine, patience_seconds: float | None) -> None:
    def connect(_dialect: Any, _record: Any, arguments: Any, keywords: Any) -> _Connection:
        connection = _Connection.connect(*arguments, **keywords)
        connection.patience_seconds = patience_seconds
        # As text, an array of sealed bodies is twice as long and is parsed digit by digit.
        connection.adapters.register_dumper(list, _ArrayDumper)
        return connection

    event.listen(engine, "do_connect", connect)


def _discard_if_read_only(context: ExceptionContext) -> None:
    if is_read_only(context.original_exception):
        # Replaces the connection and all others of the pool.
        context.is_disconnect = True


def _ping_after_a_rest(engine: Engine) -> None:
    """Test an idle connection before its use: the server may have restarted, closed it or become a replica.

    SQLAlchemy's own pre-ping tests every time, which was every fourth query of a batch.
    """

    def rest(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["resting_since"] = time.monotonic()

    def ping(connection: Any, record: ConnectionPoolEntry, _fairy: Any) -> None:
        since = record.info.get("resting_since")
        if since is None or time.monotonic() - since < _IDLE_SECONDS:
            return
        try:
            takes_writes = _takes_writes(connection)
        except psycopg.Error as error:
            raise InvalidatePoolError("the server ended a connection") from error
        if not takes_writes:
            raise InvalidatePoolError("the server takes no writes any more")

    event.listen(engine, "checkin", rest)
    event.listen(engine, "checkout", ping)


def _takes_writes(connection: _Connection) -> bool:
    autocommit = connection.autocommit
    try:
        with _hurried(connection):
            # In a transaction the question would be three.
            connection.autocommit = True
            return connection.execute(_IS_READ_ONLY).fetchone() == ("off",)
    finally:
        if not connection.closed:
            connection.autocommit = autocommit


def refuses_writes(connection: Connection) -> bool:
    """Return whether the server takes no writes; wait only a few seconds for the answer."""
    with _hurried(connection.connection.driver_connection):
        return bool(connection.exec_driver_sql(_IS_READ_ONLY).scalar_one() == "on")


def refused_by_pooler(error: DBAPIError) -> Literal["options", "transactions"] | None:
    """Return what of a session a pooler refuses; None for any other error."""
    if "statement pooling mode" in str(error.orig):
        return "transactions"
    return "options" if _REFUSES_OPTIONS.search(str(error.orig)) else None


def changes_sessions(engine: Engine) -> bool:
    """Return whether a pooler gives each transaction of a client another session of the server."""
    with engine.connect() as first:
        driver_connection: Any = first.connection.driver_connection
        # A pooler makes up numbers of its own.
        if _session_of(first) == driver_connection.info.backend_pid:
            return False
        with engine.connect() as second, suppress(DBAPIError):
            return _share_sessions((first, second))
    return False


def _share_sessions(clients: tuple[Connection, Connection]) -> bool:
    """Return whether a client changes its session, or two that are open have the same; whatever order is handed out."""
    seen: dict[int, int] = {}
    for client in (0, 1, 1, 0, 0, 1):
        session = _session_of(clients[client])
        if seen.setdefault(session, client) != client or len(seen) > len(set(seen.values())):
            return True
    return False


def _session_of(connection: Connection) -> int:
    with _hurried(connection.connection.driver_connection):
        return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
