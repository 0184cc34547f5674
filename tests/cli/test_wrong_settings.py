"""A wrong setting stops each process at once, with a sentence that names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker import procfile

BIN = Path(sys.executable).parent
ROOT = procfile.HOME
COMMANDS = {
    "books": "python -m worker books",
    "migrate": "python -m worker migrate",
    "run": "python -m worker run",
} | procfile.commands()


def _run(command: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    made = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "SIGNAL_VAR": str(folder)}
    ports = {f"{name}_BIND": "127.0.0.1:1" for name in ("COLLECTOR", "MANAGEMENT", "FLOWER")}
    return subprocess.run(
        ["/bin/sh", "-c", f"exec {command}"],
        cwd=ROOT,
        env=made | ports | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_stops_at_once_and_names_the_setting(name: str, tmp_path: Path) -> None:
    done = _run(COMMANDS[name], tmp_path, RATE_LIMIT_RPS="abc")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "RATE_LIMIT_RPS must be a number, not 'abc'." in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "DATABASE_URL",
            "mysql://x",
            "DATABASE_URL must start with postgresql:// or sqlite:///, not 'mysql'.",
        ),
        ("PRODUCTION", "1", "ENCRYPTION_KEY must be set when PRODUCTION=1: nothing is generated there."),
        (
            "DATABASE_URL",
            "postgresql://nobody@127.0.0.1:1/none",
            "The database does not answer, or takes no writes",
        ),
    ],
)
def test_the_command_line_says_it_in_one_sentence(
    variable: str, value: str, sentence: str, tmp_path: Path
) -> None:
    done = _run(COMMANDS["books"], tmp_path, **{variable: value})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1


def test_a_ledger_without_tables_asks_for_migrate(tmp_path: Path) -> None:
    done = _run(COMMANDS["books"], tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "python -m worker migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_tells_of_a_database_that_is_away_once_and_what_to_do(tmp_path: Path) -> None:
    done = _run(
        "python -m worker doctor --no-tokens", tmp_path, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none"
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    (told,) = [line for line in lines if line.startswith("FAIL  database:")]
    assert "Check that the server in DATABASE_URL runs" in told
    assert [line for line in lines if "migrations:" in line or "keys:" in line] == []
