"""Procfile, supervisor and systemd run the same processes and give them time to stop."""

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest

import celeryconfig
from tests.integration.services import missing
from tests.integration.stack import BIN, ROOT
from worker.procfile import commands
from worker.runtime import _LEASE_DEADLINES

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
NAMES = ("beat", "collector", "delivery", "flower", "ingest", "management", "upkeep")
# The upper limit of REQUEST_DEADLINE in settings.py.
LONGEST_REQUEST_SECONDS = 25


def procfile() -> dict[str, list[str]]:
    return {name: shlex.split(line) for name, line in commands().items()}


def supervisor() -> configparser.RawConfigParser:
    conf = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    conf.read(DEPLOY / "supervisord.conf")
    return conf


def units() -> dict[str, configparser.RawConfigParser]:
    parsers = {}
    for path in UNITS:
        unit = configparser.RawConfigParser()
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read(path)
        parsers[path.stem.removeprefix("signal-")] = unit
    return parsers


def test_procfile_supervisor_and_systemd_run_the_same_processes() -> None:
    """Supervisor and systemd name a process; only the Procfile has its command and settings."""
    conf, named = supervisor(), sorted(procfile())
    supervised = {name: conf[f"program:{name}"]["command"].partition(" --name ")[0] for name in NAMES}
    assert tuple(named) == NAMES
    assert supervised == {name: f"%(here)s/start {name}" for name in named}
    assert sorted(name.partition(":")[2] for name in conf.sections() if name.startswith("program:")) == named
    assert {name: unit["Service"]["ExecStart"] for name, unit in units().items()} == {
        name: f"/opt/signal/.venv/bin/signal-worker start {name}" for name in named
    }


def test_each_process_of_a_program_has_its_own_name() -> None:
    ingest = supervisor()["program:ingest"]
    assert ingest["process_name"] == "%(program_name)s-%(process_num)s"
    assert ingest["command"].endswith(" --name ingest-%(process_num)s")


def test_every_queue_has_a_worker() -> None:
    consumed = [
        queue
        for command in procfile().values()
        if "worker" in command
        for word in command
        for queue in word.split(",")
    ]
    assert {queue.name for queue in celeryconfig.task_queues} <= set(consumed)


@pytest.mark.parametrize("name", ["delivery", "ingest", "upkeep"])
def test_a_worker_may_finish_its_longest_request_before_its_lease_ends(name: str) -> None:
    """A KILL during a request would send the batch again."""
    waits = (
        int(supervisor()[f"program:{name}"]["stopwaitsecs"]),
        int(units()[name]["Service"]["TimeoutStopSec"]),
    )
    for seconds in waits:
        assert LONGEST_REQUEST_SECONDS < seconds <= _LEASE_DEADLINES * LONGEST_REQUEST_SECONDS


@pytest.mark.parametrize("name", NAMES)
def test_each_process_restarts_after_any_exit_and_stops_with_term(name: str) -> None:
    program, unit = supervisor()[f"program:{name}"], units()[name]
    assert program["autorestart"] == "true"
    assert int(program["startretries"]) >= 100
    assert program["stopsignal"] == "TERM"
    assert unit["Service"]["Restart"] == "always"
    assert unit["Service"]["KillSignal"] == "SIGTERM"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Unit"]["PartOf"] == "signal.target"


def test_the_collector_stops_first_then_beat_then_the_workers() -> None:
    conf = supervisor()
    sections = {name.partition(":")[2]: conf[name] for name in conf.sections() if name.startswith("group:")}
    groups = {name: int(section["priority"]) for name, section in sections.items()}
    members = [name for section in sections.values() for name in section["programs"].split(",")]
    assert sorted(groups, key=lambda name: -groups[name]) == ["door", "clock", "workers", "pages"]
    assert tuple(sorted(members)) == NAMES


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze is not installed")
    for path in (DEPLOY / "systemd").iterdir():
        # systemd-analyze checks that the programs exist.
        text = (
            path.read_text().replace("/opt/signal/.venv/bin", str(BIN)).replace("/opt/signal", str(tmp_path))
        )
        (tmp_path / path.name).write_text(text)
    units_there = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units_there],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_rates_each_unit_as_well_protected(unit: Path) -> None:
    """0 is the best, 10 the worst; without protection the units have 8.5."""
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze is not installed")
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=30", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_no_file_of_the_processes_is_readable_for_other_users() -> None:
    assert {unit["Service"]["UMask"] for unit in units().values()} == {"0077"}
    assert supervisor()["supervisord"]["umask"] == "077"
    assert "umask 077" in (DEPLOY / "start").read_text().splitlines()


@pytest.mark.timeout(60)
def test_a_process_starts_with_the_system_calls_that_the_units_allow(tmp_path: Path) -> None:
    """Import everything that the collector, the pages and the workers use, and write to a ledger."""
    if shutil.which("systemd-analyze") is None or find_library("seccomp") is None:
        missing("systemd-analyze or libseccomp is not installed")
    code = "import tasks, worker.collector.wsgi, worker.web.management; from worker.cli import cli; cli(['migrate'])"
    done = subprocess.run(
        [sys.executable, "-m", "tests.deploy.confined", str(UNITS[0]), sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SIGNAL_VAR": str(tmp_path / "var")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "var" / "signal.db").exists()


def test_a_confined_process_gains_no_privilege_and_no_code_in_its_memory() -> None:
    if shutil.which("systemd-analyze") is None or find_library("seccomp") is None:
        missing("systemd-analyze or libseccomp is not installed")
    for code in (
        "import mmap; mmap.mmap(-1, 4096, prot=7)",
        "import os; os.chroot('/')",
    ):
        command = [sys.executable, "-m", "tests.deploy.confined", str(UNITS[0]), sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "PermissionError" in done.stderr
