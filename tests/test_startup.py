"""No process starts on a ledger that it cannot read, and none of them touches a row of it."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from tests.cli.test_wrong_settings import COMMANDS, _run
from tests.conftest import KEY
from worker.ledger import migrate
from worker.ledger.database import Ledger
from worker.ledger.schema import data_key, metadata
from worker.ledger.vault import _KEY_MISSING_MESSAGE, SealError
from worker.startup import await_ledger

OTHER_KEY = "cd" * 32
# Flower knows nothing of the ledger; `run` starts the others, `migrate` comes before there is anything to read.
READERS = sorted(COMMANDS.keys() - {"flower", "run", "migrate"})


def rows(ledger: Ledger) -> dict[str, list[Any]]:
    with ledger.read() as connection:
        return {name: connection.execute(select(table)).all() for name, table in metadata.tables.items()}


def test_every_process_that_reads_the_ledger_is_among_these() -> None:
    assert READERS == ["beat", "books", "collector", "delivery", "ingest", "management", "upkeep"]


@pytest.mark.parametrize("name", READERS)
def test_a_lost_key_stops_the_process_with_a_sentence_and_no_row_is_touched(
    name: str, sqlite_ledger: Ledger, tmp_path: Path
) -> None:
    before = rows(sqlite_ledger)
    url = sqlite_ledger.url.render_as_string()

    done = _run(COMMANDS[name], tmp_path, DATABASE_URL=url, ENCRYPTION_KEY=OTHER_KEY)

    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert said.count(_KEY_MISSING_MESSAGE) == 1
    assert "Traceback" not in said
    assert before == rows(sqlite_ledger)


def test_a_worker_without_its_tables_says_which_command_helps(tmp_path: Path) -> None:
    done = _run(COMMANDS["ingest"], tmp_path, DATABASE_URL=f"sqlite:///{tmp_path / 'bare.db'}")
    assert done.returncode != 0
    assert "run `python -m worker migrate`" in done.stdout + done.stderr


def test_a_process_with_a_strange_key_never_adds_a_key_that_the_others_cannot_open(ledger: Ledger) -> None:
    """On a new day the first process makes the day's key: one with a strange key must not be it."""
    with ledger.write() as connection:
        connection.execute(data_key.update().where(data_key.c.purpose == "data").values(day=1))
    before = rows(ledger)
    stranger = Ledger(ledger.url.render_as_string(hide_password=False), (OTHER_KEY,))
    with pytest.raises(SealError, match="ENCRYPTION_KEY lacks the key"):
        stranger.vault.prepare()
    stranger.dispose()
    assert before == rows(ledger)


def test_a_worker_waits_for_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    away, naps = [OperationalError("", {}, Exception("away"))] * 3, list[float]()

    def check_all(_: Ledger) -> None:
        if away:
            raise away.pop()

    monkeypatch.setattr(migrate, "check_ledger", check_all)
    await_ledger(ledger, naps.append)
    assert len(naps) == 3


def test_a_worker_of_the_version_before_starts_on_a_ledger_that_was_migrated_further(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    monkeypatch.setattr(migrate, "_code_version", lambda: "0001")
    await_ledger(ledger)


def test_the_right_keys_start(ledger: Ledger) -> None:
    opened = Ledger(ledger.url.render_as_string(hide_password=False), (OTHER_KEY, KEY))
    await_ledger(opened)
    opened.dispose()
