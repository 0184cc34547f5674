"""Row "migrations": each migration since the last release with ten million deliveries, while events are written."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from urllib.parse import urlsplit

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from benchmarks import history
from benchmarks.growth import POSTGRESQL
from benchmarks.publish import answers
from benchmarks.results import Goal, Result
from worker.ledger.database import Ledger
from worker.ledger.migrate import _SCRIPTS, migrate

# The tables of the last release.
OLDEST = "0010"
DELIVERIES, GOAL_SECONDS = 10_000_000, 2.0
_EVENTS_AT_ONCE, _PAUSE_SECONDS = 100, 0.2
_REST_SECONDS, _LOOK_SECONDS = 10.0, 0.005
NAME = "signal_migrations"

# Of a hundred batches, one had no answer and its deliveries failed.
_TROUBLE = """
INSERT INTO attempt (batch_id, number, at, seconds, reason_class, reason)
SELECT id, 1, created_at, 1, 'unavailable', 'Pinterest answered 503.' FROM batch WHERE id % 100 = 0;
UPDATE delivery SET state = 1, reason_class = 'unavailable', ended_at = accepted_at WHERE batch_id % 100 = 0;
"""

# What processes of the last release write and read, in their transactions.
_ACCEPT = """
INSERT INTO inbox (source_id, anonymous_key, informs, received_at, body)
SELECT 'src_bench', uuid_send(gen_random_uuid()), true, :now, decode(repeat('ab', 700), 'hex')
FROM generate_series(1, :n)
"""
_INGEST = """
WITH taken AS (DELETE FROM inbox WHERE id IN (SELECT id FROM inbox ORDER BY id LIMIT :n FOR UPDATE SKIP LOCKED)
    RETURNING id, anonymous_key, received_at, body)
INSERT INTO delivery (integration_id, ad_account, test, offline, event_id, event_name, source_name,
    event_time, accepted_at, payload, size_bytes, state, order_key, anonymous_key)
SELECT 1, 1, false, false, gen_random_uuid()::text, CASE WHEN id % 10 = 0 THEN 'checkout' ELSE 'page_visit' END,
    'Page Viewed', received_at, received_at, body, length(body), 0,
    CASE WHEN id % 10 = 0 THEN anonymous_key END, anonymous_key FROM taken
"""
_CLAIM = """
WITH made AS (INSERT INTO batch (ad_account, credential_id, test, offline, events, status, attempt, attempts_spent,
    unreadable_answers, not_before, hinted_at, created_at)
    VALUES (1, 1, false, false, :n, 0, 0, 0, 0, :now, :now, :now) RETURNING id)
UPDATE delivery SET batch_id = (SELECT id FROM made) WHERE id IN (
    SELECT id FROM delivery WHERE state = 0 AND batch_id IS NULL AND integration_id = 1 AND NOT test AND NOT offline
    ORDER BY id + 0 LIMIT :n FOR UPDATE SKIP LOCKED)
"""
_START = """
UPDATE batch SET status = 1, attempt = 1, lease_until = :now + 60 WHERE status IN (0, 1) AND credential_id = 1
"""
_FINISH = """
UPDATE batch SET status = 2, settled_at = :now, lease_until = NULL WHERE status IN (0, 1) AND credential_id = 1;
INSERT INTO tally (hour, source_id, integration_id, event_name, outcome, n)
VALUES (CAST(:now AS bigint) / 3600, 'src_bench', 1, 'page_visit', 'delivered', :n);
"""
_READ = "SELECT id, event_name, payload FROM delivery ORDER BY id DESC LIMIT :n"
_FIND = "SELECT count(*) FROM delivery WHERE event_id = (SELECT gen_random_uuid()::text) AND state = 0"
_PURGE = """
DELETE FROM delivery WHERE id IN (SELECT id FROM delivery WHERE accepted_at < :now ORDER BY id LIMIT :n);
"""
# What each of the two threads repeats.
_TRAFFIC: tuple[Mapping[str, str], ...] = (
    {"accept": _ACCEPT, "ingest": _INGEST, "claim": _CLAIM, "start": _START, "finish": _FINISH},
    {"read": _READ, "find": _FIND, "purge": _PURGE},
)

_LOCKS = """
SELECT relname, mode, granted, coalesce(extract(epoch FROM clock_timestamp() - waitstart), 0)
FROM pg_locks JOIN pg_class ON pg_class.oid = relation JOIN pg_stat_activity USING (pid)
WHERE application_name = :name AND locktype = 'relation' AND relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
# From the weakest that other writers notice. Weaker ones do not count.
_STRENGTHS = (
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)


@dataclass(frozen=True, slots=True)
class Statement:
    """Hold one transaction of the traffic."""

    name: str
    began: float
    seconds: float
    failed: bool


@dataclass(frozen=True, slots=True)
class Migrated:
    """Hold what one migration took, and the traffic meanwhile."""

    version: str
    seconds: float
    # By table: the strongest lock, and how long the migration waited for one.
    locks: Mapping[str, str]
    waited_seconds: float
    statements: int
    slowest: Statement
    failures: int

    @property
    def strongest(self) -> str:
        return ", ".join(f"{table} {mode}" for table, mode in sorted(self.locks.items())) or "none seen"

    def __str__(self) -> str:
        return (
            f"{self.version}: {self.seconds:.1f} s; locks: {self.strongest}; waited {self.waited_seconds:.2f} s for "
            f"them; {self.statements} transactions meanwhile, the slowest {self.slowest.seconds:.2f} s "
            f"({self.slowest.name}), {self.failures} failed"
        )


class Traffic:
    """Two threads that write and read what processes of the last release do."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ended = threading.Event()
        self.statements: list[Statement] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._repeat, args=(steps,)) for steps in _TRAFFIC]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def _repeat(self, steps: Mapping[str, str]) -> None:
        while not self._ended.wait(_PAUSE_SECONDS):
            for name, statement in steps.items():
                # Retention deletes the oldest.
                now = history.BEGAN + 1e6 if name == "purge" else time.time()
                self._run(name, statement, {"n": _EVENTS_AT_ONCE, "now": now})

    def _run(self, name: str, statement: str, values: Mapping[str, float]) -> None:
        start, failed = time.monotonic(), False
        try:
            with self._ledger.write() as connection:
                for part in filter(str.strip, statement.split(";")):
                    connection.execute(
                        text(part), {key: value for key, value in values.items() if f":{key}" in part}
                    )
        except DBAPIError as error:
            failed = True
            print(f"  {name} failed: {str(error.orig).strip()}", flush=True)
        self.statements.append(Statement(name, start, time.monotonic() - start, failed))

    def between(self, start: float, end: float) -> list[Statement]:
        """Return what ran at any moment of a time."""
        return [row for row in list(self.statements) if row.began < end and row.began + row.seconds > start]


class Locks:
    """Look at the locks of the migration every few milliseconds; shorter ones may be missed."""

    def __init__(self, url: URL) -> None:
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")
        self._ended = threading.Event()
        self._begin()

    def _begin(self) -> None:
        self._seen: dict[str, Counter[str]] = defaultdict(Counter)
        self._waited = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self._engine.dispose()

    def _watch(self) -> None:
        with self._engine.connect() as connection:
            while not self._ended.wait(_LOOK_SECONDS):
                self._look(connection)

    def _look(self, connection: Connection) -> None:
        for table, mode, granted, waited in connection.execute(text(_LOCKS), {"name": NAME}):
            if mode in _STRENGTHS:
                self._seen[table][mode] += 1
            if not granted:
                self._waited = max(self._waited, float(waited))

    def take(self) -> tuple[dict[str, str], float]:
        """Return the strongest lock on each table and the longest wait since the last call."""
        locks = {table: max(modes, key=_STRENGTHS.index) for table, modes in self._seen.items()}
        waited = self._waited
        self._begin()
        return locks, waited


def run(quick: bool = False) -> list[Result]:
    """Migrate from the last release to the newest version."""
    if not answers(POSTGRESQL.replace("+psycopg", "")):
        print(f"  PostgreSQL does not answer at {urlsplit(POSTGRESQL).hostname}, so nothing was measured")
        return []
    deliveries = 10_000 if quick else DELIVERIES
    before, migrated = rehearse(POSTGRESQL, deliveries, rest_seconds=1.0 if quick else _REST_SECONDS)
    return results(deliveries, before, migrated)


def newer_versions() -> list[str]:
    """Return the versions after the last release's."""
    names = sorted(path.stem[:4] for path in (_SCRIPTS / "versions").glob("[0-9]*.py"))
    return [name for name in names if name > OLDEST]


def rehearse(server_url: str, deliveries: int, rest_seconds: float) -> tuple[float, list[Migrated]]:
    """Return the slowest transaction of the traffic without a migration, in seconds, and what each migration took."""
    with history.postgresql(server_url, OLDEST) as ledger:
        start = time.monotonic()
        history.lay_down(ledger, replace(history.PLACE, number=1), deliveries, history.SMALL_PAYLOAD_BYTES)
        with history.unhurried(ledger) as connection:
            connection.execute(text(_TROUBLE))
        history.come_to_rest(ledger)
        print(f"  {deliveries:,} deliveries added in {time.monotonic() - start:.0f} s", flush=True)
        traffic, locks = Traffic(ledger), Locks(ledger.url)
        url = ledger.url.update_query_dict({"application_name": NAME})
        migrating = Ledger(url.render_as_string(hide_password=False), (history.KEY,))
        with traffic.running(), locks.watched():
            start = time.monotonic()
            time.sleep(rest_seconds)
            before = _slowest(traffic.between(start, time.monotonic()))
            print(f"  without a migration: the slowest {before.seconds:.2f} s ({before.name})", flush=True)
            rows = []
            for version in newer_versions():
                rows.append(_migrated(migrating, version, traffic, locks))
                print(f"  {rows[-1]}", flush=True)
        migrating.dispose()
    return before.seconds, rows


def _migrated(ledger: Ledger, version: str, traffic: Traffic, locks: Locks) -> Migrated:
    locks.take()
    start = time.monotonic()
    migrate(ledger, version)
    end = time.monotonic()
    # What still waits belongs to this migration.
    time.sleep(2 * _PAUSE_SECONDS)
    statements = traffic.between(start, end)
    seen, waited = locks.take()
    return Migrated(
        version,
        end - start,
        seen,
        waited,
        len(statements),
        _slowest(statements),
        sum(statement.failed for statement in statements),
    )


def _slowest(statements: Sequence[Statement]) -> Statement:
    none = Statement("none", 0.0, 0.0, failed=False)
    return max(statements, key=attrgetter("seconds"), default=none)


def results(deliveries: int, before: float, migrated: Sequence[Migrated]) -> list[Result]:
    """Return a result for all migrations, and one for each that took longer than a second."""
    worst = max(step.slowest.seconds for step in migrated)
    goal = Goal("no transaction takes longer than 2 s", GOAL_SECONDS, worst, at_most=True)
    seconds, failures = (sum(map(attrgetter(name), migrated)) for name in ("seconds", "failures"))
    case = f"PostgreSQL, {deliveries:,} deliveries: all {len(migrated)} migrations since {OLDEST} in {seconds:.0f} s"
    unit = f"s, the slowest transaction meanwhile; {failures} failed"
    return [
        Result("migrations", case, unit, worst, {"without a migration": before}, (goal,)),
        *(
            Result(
                "migrations",
                f"of these, {step.version} in {step.seconds:.0f} s; locks: {step.strongest}",
                "s, the slowest transaction meanwhile",
                step.slowest.seconds,
            )
            for step in migrated
            if step.seconds >= 1.0
        ),
    ]
