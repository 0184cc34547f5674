"""Create a ledger with a history of events delivered long ago, in settled batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, create_engine, text

from worker.ledger.database import Ledger
from worker.ledger.migrate import migrate
from worker.ledger.postgresql import unhurried_connection
from worker.ledger.schema import BatchStatus, State
from worker.ledger.setup import integrations, sources
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.ledger.setup.integrations import Integration
from worker.ledger.setup.sources import Source

KEY = "ab" * 32
# Long enough ago for retention to take the oldest, and all in one order: that of their ids.
BEGAN = 1_700_000_000.0
EVENTS_A_BATCH = 1_000
# About what a checkout with two products and eleven hashed fields takes, sealed.
PAYLOAD_BYTES = 1_100
# Narrower, so that adding ten million takes minutes.
SMALL_PAYLOAD_BYTES = 160

# What the two databases say differently.
_SQLITE = {
    "numbers": "WITH RECURSIVE series(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM series WHERE i + 1 < :n)",
    "name": "lower(hex(randomblob(16)))",
    "key": "randomblob(16)",
    "payload": "randomblob(:size)",
    # Those with random positions remain: an index that is built at once has only full pages, and each page's next entry
    # would split it. The pages of a running ledger have free space.
    "indexes": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'delivery' AND sql != '' "
    "AND name NOT IN ('uq_delivery_once', 'ix_delivery_order')",
}
_POSTGRESQL = {
    "numbers": "WITH series(i) AS (SELECT generate_series(0, CAST(:n AS integer) - 1))",
    "name": "replace(gen_random_uuid()::text, '-', '')",
    "key": "uuid_send(gen_random_uuid())",
    "payload": "decode(repeat(replace(gen_random_uuid()::text, '-', ''), CAST(:size AS integer) / 16), 'hex')",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes "
    "WHERE schemaname = current_schema() AND tablename = 'delivery' AND indexname NOT LIKE 'pk%'",
}


@contextmanager
def sqlite(folder: Path) -> Iterator[Ledger]:
    """Lend an empty ledger in a file."""
    ledger = Ledger(f"sqlite:///{folder / f'{uuid4().hex[:8]}.db'}", (KEY,))
    try:
        migrate(ledger)
        ledger.vault.prepare()
        yield ledger
    finally:
        ledger.dispose()


@contextmanager
def postgresql(server_url: str, version: str = "head") -> Iterator[Ledger]:
    """Lend an empty ledger on a server, with the tables of a version, dropped afterwards."""
    server = create_engine(server_url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    name = f"signal_bench_{uuid4().hex[:8]}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    ledger = Ledger(server.url.set(database=name).render_as_string(hide_password=False), (KEY,))
    try:
        migrate(ledger, version)
        ledger.vault.prepare()
        yield ledger
    finally:
        ledger.dispose()
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


PLACE = Integration(
    id="int_bench",
    source_id="src_bench",
    vendor="pinterest",
    name="Pinterest",
    enabled=True,
    ad_account_id="549765662491",
    config={"ad_account_id": "549765662491"},
    consent_categories=(),
    created_at=BEGAN,
    updated_at=BEGAN,
)


def shop(ledger: Ledger) -> Integration:
    """Add a source and its integration."""
    with ledger.write() as connection:
        source = Source(PLACE.source_id, "Bench", ("example.com",), BEGAN, BEGAN)
        sources.insert_source(connection, ledger.vault, source, "dk_live_bench", "secret")
        return integrations.insert_integration(
            connection, ledger.vault, PLACE, "pina_bench", AccountRateLimit(100_000.0, 100_000)
        )


def lay_down(ledger: Ledger, place: Integration, count: int, payload_bytes: int = PAYLOAD_BYTES) -> None:
    """Add ``count`` delivered events with their batches and tallies, and leave the database idle."""
    words = _SQLITE if ledger.is_sqlite else _POSTGRESQL
    values = {
        "began": BEGAN,
        "account": place.ad_account,
        "credential": place.credential_id,
        "integration": place.number,
        "open": State.OPEN.value,
        "settled": BatchStatus.SETTLED.value,
        "size": payload_bytes,
    }
    batches = count // EVENTS_A_BATCH
    with unhurried(ledger) as connection:
        if ledger.is_sqlite:
            # For the indexes that remain; `come_to_rest` closes the connection.
            connection.execute(text("PRAGMA cache_size = -500000"))
        # Building an index of a million rows at once takes a fraction of adding them one by one.
        indexes = [tuple(row) for row in connection.execute(text(words["indexes"]))]
        for name, _ in indexes:
            connection.execute(text(f"DROP INDEX {name}"))
        for template, n in ((_BATCHES, batches), (_DELIVERIES, count), (_TALLIES, min(720, batches))):
            statement = template % words
            parameters = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), parameters | {"n": n})
        for _, statement in indexes:
            connection.execute(text(statement))
    come_to_rest(ledger)


_BATCHES = f"""
%(numbers)s INSERT INTO batch (ad_account, credential_id, test, offline, events, status, attempt,
    attempts_spent, unreadable_answers, not_before, hinted_at, created_at, first_tried_at, settled_at)
SELECT :account, :credential, false, false, {EVENTS_A_BATCH}, :settled, 1,
    0, 0, :began + i, :began + i, :began + i, :began + i, :began + i FROM series
"""  # noqa: S608 - nothing in it comes from outside
# Every tenth is an order.
_DELIVERIES = f"""
%(numbers)s INSERT INTO delivery (integration_id, ad_account, test, offline, event_id, event_name, source_name,
    event_time, accepted_at, payload, size_bytes, state, batch_id, order_key, anonymous_key, user_key)
SELECT :integration, :account, false, false, %(name)s,
    CASE WHEN i %% 10 = 0 THEN 'checkout' ELSE 'page_visit' END, 'Page Viewed',
    CAST(:began AS integer), :began + i / {EVENTS_A_BATCH}, %(payload)s, CAST(:size AS integer), :open,
    1 + i / {EVENTS_A_BATCH}, CASE WHEN i %% 10 = 0 THEN %(key)s END, %(key)s, %(key)s FROM series
"""  # noqa: S608
# As many rows as remain after folding: a few kinds per hour, for one month at most.
_TALLIES = """
%(numbers)s, kinds(k) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11))
INSERT INTO tally (hour, source_id, integration_id, event_name, outcome, n)
SELECT CAST(:began / 3600 AS integer) - i, 'src_bench', :integration, 'name ' || k, 'delivered', 1000
FROM series, kinds
"""


@contextmanager
def unhurried(ledger: Ledger) -> Iterator[Connection]:
    """Lend a connection to fill a database with; on PostgreSQL without limits of time, each statement on its own."""
    if ledger.is_sqlite:
        with ledger.write() as connection:
            yield connection
    else:
        with unhurried_connection(ledger.url, transaction_pooler=False) as connection:
            yield connection


def come_to_rest(ledger: Ledger) -> None:
    """Let the database finish its background work before the measurement."""
    if not ledger.is_sqlite:
        with unhurried(ledger) as connection:
            for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
                connection.execute(text(statement))
        return
    # It does not work inside a transaction, which is what the ledger's own connections are in.
    idle: Any = ledger.write_engine.raw_connection()
    try:
        idle.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        idle.invalidate()
