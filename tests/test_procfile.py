"""A process of the Procfile can be started by its name from any folder."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.test_production import GOOD
from worker import procfile
from worker.cli import cli
from worker.dev import stack
from worker.settings import SettingsError, parse, settings

PRODUCTION = GOOD | {"BROKER_URL": "redis://127.0.0.1:1/0"}


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, list[str], dict[str, str]]]:
    """Record the command of `exec`, in a folder that is not the checkout."""
    noted: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda *arguments: noted.append(arguments))
    monkeypatch.chdir(tmp_path)
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)
    for name in ("SIGNAL_VAR", "DATABASE_URL", "PINTEREST_API_URL"):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    return noted


@pytest.mark.parametrize("name", procfile.commands())
def test_a_process_takes_the_place_of_the_command(
    name: str, became: list[tuple[str, list[str], dict[str, str]]], tmp_path: Path
) -> None:
    """No shell remains as its parent: a supervisor's TERM would reach only the shell."""
    done = CliRunner().invoke(cli, ["start", name])
    settings.cache_clear()
    assert (done.exit_code, done.output) == (0, "")
    ((program, (_, _, line), environment),) = became
    assert (program, line) == ("/bin/sh", f"exec {procfile.commands()[name]}")
    assert Path.cwd() == procfile.HOME
    # Paths relative to the caller's folder still mean the same.
    assert environment["SIGNAL_VAR"] == str(tmp_path / "var")
    assert environment["DATABASE_URL"] == f"sqlite:///{tmp_path / 'var' / 'signal.db'}"


def test_a_second_worker_of_a_kind_has_a_name_of_its_own(
    became: list[tuple[str, list[str], dict[str, str]]],
) -> None:
    done = CliRunner().invoke(cli, ["start", "ingest", "--name", "ingest2"])
    settings.cache_clear()
    assert (done.exit_code, done.output) == (0, "")
    ((_, (_, _, line), _),) = became
    assert line == f"exec {procfile.commands()['ingest']}".replace("ingest@%h", "ingest2@%h")
    assert "ingest2@%h" in line


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["beat", "--name", "beat2"], "Only workers can have --name; beat is not a worker."),
        (["ingest", "--name", "x; ls"], "a name has letters, digits, - and _."),
    ],
)
def test_a_name_that_cannot_be_given_is_refused(
    words: list[str], sentence: str, became: list[tuple[str, list[str], dict[str, str]]]
) -> None:
    done = CliRunner().invoke(cli, ["start", *words])
    settings.cache_clear()
    assert (done.exit_code, became) == (2, [])
    assert sentence in done.output


def test_a_database_named_from_the_caller_s_folder_is_found_from_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    told = parse(PRODUCTION | {"DATABASE_URL": "sqlite:///shop.db?timeout=5"})
    assert told.database_url == f"sqlite:///{tmp_path / 'shop.db'}?timeout=5"


def test_a_name_that_is_no_process_is_refused_with_those_that_are() -> None:
    done = CliRunner().invoke(cli, ["start", "collecter"])
    assert done.exit_code == 2
    assert "'collector'" in done.output


def test_trying_things_out_is_refused_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would send the shop's events to the sandbox, which accepts them."""
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=r"^PRODUCTION must be 0 for `run`"):
        stack.run_stack()
