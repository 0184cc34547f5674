"""The audit of what is installed tells a flaw, a clean bill, and its own absence apart."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.security import audit
from tests.security.audit import Run, installed, main

PACKAGES = {"requests": "2.31.0", "flask": "3.1.0"}
FLAW = {"id": "PYSEC-2030-1", "fix_versions": ["2.32.0"]}


def answering(**flaws: Any) -> tuple[Run, list[list[str]]]:
    """Answer as pip-audit does; a package whose flaws are None is not known to the service."""
    asked: list[list[str]] = []

    def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        lines = Path(command[command.index("-r") + 1]).read_text().splitlines()
        asked.append(lines)
        dependencies = []
        for line in lines:
            name, _, version = line.partition("==")
            found = flaws.get(name, [])
            about = {"skip_reason": "not found"} if found is None else {"version": version, "vulns": found}
            dependencies.append({"name": name} | about)
        return subprocess.CompletedProcess(command, 0, json.dumps({"dependencies": dependencies}), "")

    return run, asked


@pytest.fixture
def stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(audit, "STAMP", tmp_path / "stamp")
    return tmp_path / "stamp"


def test_a_known_vulnerability_fails_the_lint_and_is_named(
    stamp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = answering(flask=[FLAW])
    assert main(PACKAGES, run, stamp) == 1
    assert "flask 3.1.0 has PYSEC-2030-1, mended in 2.32.0." in capsys.readouterr().out
    assert not stamp.exists()


def test_what_is_clean_is_looked_up_once_a_day(stamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, asked = answering()
    assert main(PACKAGES, run, stamp) == 0
    assert "2 packages looked up, 0 known vulnerabilities" in capsys.readouterr().out
    assert main(PACKAGES, run, stamp) == 0
    assert len(asked) == 2
    assert main(PACKAGES | {"flask": "3.2.0"}, run, stamp) == 0
    assert len(asked) == 4


def test_a_service_that_is_out_of_reach_is_told_and_never_taken_for_a_clean_bill(
    stamp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, asked = answering(requests=None, flask=None)
    assert main(PACKAGES, run, stamp) == 0
    assert "audit: NOT DONE." in capsys.readouterr().out
    # One question, not eighty.
    assert asked == [["requests==2.31.0"]]
    assert not stamp.exists()


@pytest.mark.parametrize("said", ["", "no JSON", "{}"])
def test_an_audit_that_ends_in_an_error_is_told(
    stamp: Path, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(command, 1, said, "Traceback\nConnectionError: no route")

    assert main(PACKAGES, run, stamp) == 0
    assert "(ConnectionError: no route)" in capsys.readouterr().out


def test_an_audit_that_hangs_is_told(stamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        raise subprocess.TimeoutExpired(command, 180)

    assert main(PACKAGES, run, stamp) == 0
    assert "(no answer within 180 s)" in capsys.readouterr().out


def test_what_the_service_does_not_know_is_named(stamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = answering(flask=None)
    assert main(PACKAGES, run, stamp) == 0
    assert "not looked up, because the service does not know them: flask." in capsys.readouterr().out


def test_everything_that_is_installed_is_looked_up() -> None:
    assert {"celery", "flask", "requests", "cryptography", "sqlalchemy"} <= installed().keys()
    assert "signal-worker" not in installed()


def test_make_lint_runs_it() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    lint = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    assert "-m tests.security.audit" in lint
