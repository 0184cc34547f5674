"""The audit distinguishes a vulnerability, a clean result and a check that was not possible."""

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
    """Answer as pip-audit does; None as flaws means that the service does not know the package."""
    queries: list[list[str]] = []

    def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        lines = Path(command[command.index("-r") + 1]).read_text().splitlines()
        queries.append(lines)
        dependencies = []
        for line in lines:
            name, _, version = line.partition("==")
            known = flaws.get(name, [])
            about = {"skip_reason": "not found"} if known is None else {"version": version, "vulns": known}
            dependencies.append({"name": name} | about)
        return subprocess.CompletedProcess(command, 0, json.dumps({"dependencies": dependencies}), "")

    return run, queries


@pytest.fixture
def stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(audit, "STAMP", tmp_path / "stamp")
    return tmp_path / "stamp"


def test_a_known_vulnerability_fails_the_lint_and_is_named(
    stamp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = answering(flask=[FLAW])
    assert main(PACKAGES, run, stamp) == 1
    assert "flask 3.1.0 has PYSEC-2030-1, fixed in 2.32.0." in capsys.readouterr().out
    assert not stamp.exists()


def test_packages_without_vulnerabilities_are_checked_once_a_day(
    stamp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, queries = answering()
    assert main(PACKAGES, run, stamp) == 0
    assert "2 packages checked, 0 known vulnerabilities" in capsys.readouterr().out
    assert main(PACKAGES, run, stamp) == 0
    assert len(queries) == 2
    assert main(PACKAGES | {"flask": "3.2.0"}, run, stamp) == 0
    assert len(queries) == 4


def test_an_unreachable_service_is_reported_and_is_not_a_clean_result(
    stamp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, queries = answering(requests=None, flask=None)
    assert main(PACKAGES, run, stamp) == 0
    assert "audit: NOT DONE." in capsys.readouterr().out
    # One query, not eighty.
    assert queries == [["requests==2.31.0"]]
    assert not stamp.exists()


@pytest.mark.parametrize("output", ["", "no JSON", "{}"])
def test_an_audit_that_fails_is_reported(
    stamp: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(command, 1, output, "Traceback\nConnectionError: no route")

    assert main(PACKAGES, run, stamp) == 0
    assert "(ConnectionError: no route)" in capsys.readouterr().out


def test_an_audit_that_hangs_is_reported(stamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        raise subprocess.TimeoutExpired(command, 180)

    assert main(PACKAGES, run, stamp) == 0
    assert "(no answer within 180 s)" in capsys.readouterr().out


def test_packages_unknown_to_the_service_are_named(stamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = answering(flask=None)
    assert main(PACKAGES, run, stamp) == 0
    assert "not checked, because the service does not know them: flask." in capsys.readouterr().out


def test_all_installed_packages_are_checked() -> None:
    assert {"celery", "flask", "requests", "cryptography", "sqlalchemy"} <= installed().keys()
    assert "signal-worker" not in installed()


def test_make_lint_runs_it() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    lint = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    assert "-m tests.security.audit" in lint
