"""The upgrade of docs/backup.md loses no event: old and new processes work together on the new tables."""

import subprocess
from pathlib import Path

import pytest
from honcho.environ import parse_procfile

from tests.integration.services import missing
from tests.integration.shop import Shop
from tests.integration.stack import BROKER, ROOT, Plan, Stack, prepared
from tests.integration.test_rotation import Feed, restart
from worker.ledger import migrate

# In the order of the document.
PROCESSES = ("ingest1", "delivery", "upkeep", "beat", "management", "collector")


def git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False, timeout=60)
    if done.returncode != 0:
        missing(f"git {arguments[0]} does not work here ({done.stderr.decode().strip()[:100]})")
    return done.stdout


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """Return the code as it was before the newest migration."""
    (newest,) = (migrate._SCRIPTS / "versions").glob(f"{migrate._code_version()}_*.py")
    added = git("log", "--diff-filter=A", "--format=%H", "--", str(newest)).decode().split()
    if not added:
        missing("the newest migration is not in the history yet")
    folder = tmp_path / "before"
    folder.mkdir()
    subprocess.run(
        ["tar", "-x", "-C", str(folder)], input=git("archive", f"{added[-1]}~1"), check=True, timeout=60
    )
    return folder


def in_folder(code: Path, line: str) -> str:
    return f"env -C {code} PYTHONPATH={code} {line}"


def lay_down(stack: Stack, code: Path) -> str:
    """Start with the tables of the version before; return their version."""
    for file in stack.var.glob("signal.db*"):
        file.unlink()
    done = subprocess.run(
        ["/bin/sh", "-c", in_folder(code, "python -m worker migrate")],
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return version(stack)


def version(stack: Stack) -> str:
    with stack.ledger() as ledger, ledger.read() as connection:
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def commands(code: Path) -> dict[str, str]:
    lines = dict(parse_procfile((code / "Procfile").read_text()).processes)
    lines["ingest1"] = lines["ingest"].replace("ingest@%h", "ingest1@%h")
    return {name: lines[name] for name in PROCESSES}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_an_upgrade_under_load_loses_no_event(tmp_path: Path, before: Path) -> None:
    with prepared(Plan("valkey", "sqlite"), tmp_path / "v") as stack:
        assert lay_down(stack, before) < migrate._code_version()
        new = {name: stack.commands[name] for name in PROCESSES}
        old = {name: in_folder(before, line) for name, line in commands(before).items()}
        stack.commands |= old
        del stack.commands["flower"]
        stack.start(*(name for name in stack.commands if name != BROKER))
        stack.await_ready()
        shop = Shop(stack)
        with Feed(shop) as feed:
            feed.await_more()
            done = stack.command("migrate")
            assert (done.returncode, version(stack)) == (0, migrate._code_version()), done.stderr
            feed.await_more()
            # A process of the version before can restart on the new tables.
            restart(stack, "ingest1")
            feed.await_more()
            for name in PROCESSES:
                stack.stop(name)
                stack.commands[name] = new[name]
                stack.start(name)
                stack.await_ready(name)
                feed.await_more()
        assert set(feed.statuses) == {200}
        shop.await_delivered(len(feed.statuses), 60)
        books = stack.command("books")
        assert books.stdout.endswith("The books balance.\n"), books.stdout + books.stderr
