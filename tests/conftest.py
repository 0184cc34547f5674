"""Fixtures of all packages: a ledger on SQLite and on PostgreSQL."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, delete, text
from sqlalchemy.exc import OperationalError
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from worker.ledger.database import Ledger
from worker.ledger.migrate import migrate
from worker.ledger.schema import metadata

# Tests in these folders start processes, and many of a folder share them. The longest folder comes first.
PROCESS_FOLDERS = (
    "integration",
    "broker",
    "browser",
    "chaos",
    "dev",
    "package",
    "security",
    "docs",
    "doctor",
    "deploy",
)
POSTGRESQL_URL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://root@127.0.0.1:5432/postgres")
KEY = "ab" * 32

# The time of one example says more about the machine than about the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


class SchedulingByFolder(LoadScopeScheduling):
    """Give a folder whose tests start processes to one worker, and all other tests module by module.

    These folders go first: short modules fill up the end, so that all workers end at nearly the same time.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return next((folder for folder in PROCESS_FOLDERS if f"tests/{folder}/" in path), path)

    def _assign_work_unit(self, node: WorkerController) -> None:
        folders = [folder for folder in PROCESS_FOLDERS if folder in self.workqueue]
        if folders:
            self.workqueue.move_to_end(folders[0], last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Say who runs what where there are several workers."""
    return SchedulingByFolder(config, log)


@contextmanager
def postgresql_database() -> Iterator[str]:
    """Lend the address of a database that nothing else uses, and that is gone afterwards."""
    server = create_engine(POSTGRESQL_URL, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    name = f"signal_test_{uuid4().hex[:12]}"
    try:
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            # The disk's own time is not what is tested.
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    except OperationalError:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(f"no PostgreSQL at {server.url}")
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        server.dispose()


@pytest.fixture
def bare_postgresql_url() -> Iterator[str]:
    """Lend the address of a database without tables."""
    with postgresql_database() as url:
        yield url


@pytest.fixture(scope="session")
def shared_postgresql() -> Iterator[Ledger]:
    """Lend a ledger that all tests of a session share; each test empties it first."""
    with postgresql_database() as url:
        ledger = Ledger(url, (KEY,))
        migrate(ledger)
        yield ledger
        ledger.dispose()


@pytest.fixture
def postgresql_url(shared_postgresql: Ledger) -> str:
    """Return the address of an empty ledger on PostgreSQL."""
    with shared_postgresql.write() as connection:
        # A TRUNCATE would write eighteen files to the disk.
        connection.execute(text("; ".join(str(delete(table)) for table in metadata.tables.values())))
    return shared_postgresql.url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database file that has the ledger's tables, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "ledger.db"
    ledger = Ledger(f"sqlite:///{path}", (KEY,))
    migrate(ledger)
    # The last connection to go writes everything into the one file.
    ledger.dispose()
    return path


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """Return the address of an empty ledger on SQLite."""
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'ledger.db')}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """Return the address of an empty ledger, on each database in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """Lend an empty ledger, on each database in turn."""
    ledger = Ledger(ledger_url, (KEY,))
    ledger.vault.prepare()
    yield ledger
    ledger.dispose()


@pytest.fixture
def sqlite_ledger(sqlite_url: str) -> Iterator[Ledger]:
    """Lend an empty ledger on SQLite, where the database makes no difference."""
    ledger = Ledger(sqlite_url, (KEY,))
    ledger.vault.prepare()
    yield ledger
    ledger.dispose()
