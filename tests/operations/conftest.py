"""Worlds with all three surfaces, on both databases."""

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copy

import pytest
from sqlalchemy import delete, text

from tests.conftest import KEY
from tests.operations.surfaces import World
from worker.ledger.database import Ledger
from worker.ledger.schema import metadata


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def make_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], World]]:
    """Make worlds one after another, each in an empty ledger."""
    opened: list[Ledger] = []

    def make() -> World:
        if request.param == "sqlite":
            migrated = request.getfixturevalue("migrated_sqlite")
            url = f"sqlite:///{copy(migrated, tmp_path / f'{len(opened)}.db')}"
        else:
            shared: Ledger = request.getfixturevalue("shared_postgresql")
            with shared.write() as connection:
                connection.execute(text("; ".join(str(delete(table)) for table in metadata.tables.values())))
            url = shared.url.render_as_string(hide_password=False)
        opened.append(Ledger(url, (KEY,)))
        return World(opened[-1])

    yield make
    for ledger in opened:
        ledger.dispose()
