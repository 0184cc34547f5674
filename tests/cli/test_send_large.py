"""A large file, killed several times on its way, is taken once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select

from tests.cli.test_send import NO_BROKER, ROOT
from tests.conftest import KEY
from tests.integration.waiting import until
from worker.dev import shop_walk
from worker.ledger.database import Ledger
from worker.ledger.schema import inbox, taken_line
from worker.pipeline.ingest.accepting import open_rows
from worker.settings import parse

pytestmark = pytest.mark.slow

LINES = 100_000
BAD = range(0, LINES, 10_000)
KILLED_BEYOND = (5_000, 30_000, 60_000)


@pytest.fixture
def environment(ledger: Ledger, tmp_path: Path) -> dict[str, str]:
    made = {
        "SIGNAL_VAR": str(tmp_path),
        "BROKER_URL": NO_BROKER,
        "DATABASE_URL": ledger.url.render_as_string(hide_password=False),
        "ENCRYPTION_KEY": KEY,
    }
    shop_walk.create_demo(ledger, parse(made))
    return dict(os.environ) | made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a spreadsheet's file of sales, ten lines of which are wrong."""
    file = tmp_path / "sales.csv"
    rows = (
        f"29.01.2030 14:53;S-{n};{n % 900},{n % 90 + 10};EUR;1;b{n}@example.com;Köln" for n in range(LINES)
    )
    lines = (row.partition(";")[2] if n in BAD else row for n, row in enumerate(rows))
    text = "date;order_id;total;currency;quantity;email;city\r\n" + "\r\n".join(lines)
    file.write_bytes(text.encode("cp1252"))
    return file


def _send(file: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    how = ("--event", "Order Completed", "--encoding", "cp1252", "--date-format", "%d.%m.%Y %H:%M")
    return subprocess.Popen(
        [sys.executable, "-m", "worker", "send", str(file), *how],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_hundred_thousand_lines_are_each_taken_once(
    ledger: Ledger, file: Path, environment: dict[str, str]
) -> None:
    for lines in KILLED_BEYOND:
        with _send(file, environment) as sending:
            until("lines are taken", lambda lines=lines: _count(ledger, taken_line) > lines, seconds=100)
            sending.send_signal(signal.SIGKILL)
    before = _count(ledger, taken_line)
    assert KILLED_BEYOND[-1] < before < LINES - len(BAD)
    with _send(file, environment) as sending:
        said, errors = sending.communicate(timeout=100)
    assert said.startswith(f"Imported {LINES - len(BAD) - before:,} events.\n")
    assert [line for line in errors.splitlines() if ", line " in line] == [
        f"{file}, line {n + 2}: the row has 6 cells, and the header 7." for n in BAD
    ]
    with _send(file, environment) as sending:
        assert sending.communicate(timeout=100)[0].startswith("Imported 0 events.\n")
    assert _count(ledger, inbox) == _count(ledger, taken_line) == LINES - len(BAD)
    assert len(_order_ids(ledger)) == LINES - len(BAD)


def _count(ledger: Ledger, table: Table) -> int:
    with ledger.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def _order_ids(ledger: Ledger) -> set[str]:
    from worker.ledger.intake import inbox as rooms

    found: set[str] = set()
    with ledger.read() as connection:
        ids = list(connection.scalars(select(inbox.c.id)))
        for start in range(0, len(ids), 500):
            opened, _ = open_rows(ledger.vault, rooms.load_events(connection, ids[start : start + 500]))
            found.update(one.event["properties"]["order_id"] for one in opened)
    return found
