"""A ledger on SQLite is copied while it is written to."""

import stat
from pathlib import Path

from tests.cli.conftest import Shell
from worker.ledger.database import Ledger
from worker.ledger.schema import State
from worker.settings import settings


def test_a_copy_opens_and_its_books_balance(failures: Shell, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    printed = failures.good("backup", str(copy))
    assert printed.startswith("Copied ")
    failures.add("evt_later", "checkout", State.OPEN)
    ledger = Ledger(f"sqlite:///{copy}", settings().encryption_keys)
    ledger.vault.check()
    with ledger.read() as connection:
        found = connection.exec_driver_sql("SELECT event_id FROM delivery ORDER BY id").scalars().all()
    ledger.dispose()
    assert found == ["evt_1", "evt_2", "evt_3", "evt_4"]


def test_the_copy_is_its_owners_alone(shell: Shell, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shell.good("backup", str(copy))
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_nothing_is_written_over(shell: Shell, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("an older copy")
    done = shell.run("backup", str(copy))
    assert (done.exit_code, "already exists and is not overwritten." in done.output) == (1, True)
    assert copy.read_text() == "an older copy"


def test_a_place_that_is_none_is_told(shell: Shell, tmp_path: Path) -> None:
    done = shell.run("backup", str(tmp_path / "nowhere" / "copy.db"))
    assert (done.exit_code, "cannot be written: No such file or directory." in done.output) == (1, True)
