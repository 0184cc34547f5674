"""An installed copy runs without a checkout."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.dev.conftest import Run, lent
from tests.dev.test_stack import DELIVERIES
from tests.integration.waiting import until
from worker import procfile

# Installing everything takes minutes on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TASKS = (
    "tasks.ingest.process_event",
    "tasks.batching.group_pending",
    "tasks.delivery.deliver_batch",
    "tasks.upkeep.sweep",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with other modules of the same names."""
    folder = tmp_path_factory.mktemp("shop")
    for name in ("worker.py", "tasks.py", "celeryconfig.py"):
        (folder / name).write_text("raise SystemExit('This module is the shop\\'s.')\n")
    return folder


@pytest.fixture(scope="module")
def run(installed: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run the stack from the installed copy until it has delivered the demo."""
    command = (str(installed / "signal-worker"), "run")
    with lent(Run(tmp_path_factory.mktemp("r"), command, started_in=folder)) as stack:
        stack.environment["PATH"] = "/usr/bin:/bin"
        stack.start()
        stack.await_delivered(DELIVERIES)
        yield stack


def _called(
    installed: Path, folder: Path, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(installed / arguments[0]), *arguments[1:]],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "SIGNAL_VAR": str(folder / "state"), **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_the_installed_packages_are_compatible(installed: Path, folder: Path) -> None:
    done = _called(installed, folder, "pip", "check")
    assert done.returncode == 0, done.stdout


def test_the_command_prints_its_help(installed: Path, folder: Path) -> None:
    done = _called(installed, folder, "signal-worker", "--help")
    assert done.returncode == 0, done.stderr
    assert "Deliver a shop's events to the Pinterest Conversions API." in done.stdout


def test_the_migrations_are_installed(installed: Path, folder: Path) -> None:
    first = _called(installed, folder, "signal-worker", "migrate")
    assert first.stdout == "The ledger is up to date.\n", first.stderr
    books = _called(installed, folder, "signal-worker", "books")
    assert books.stdout.endswith("The books balance.\n"), books.stderr


def test_celery_finds_every_task(installed: Path, tmp_path: Path) -> None:
    code = "from worker.app import app; app.loader.import_default_modules(); print(*app.tasks)"
    done = _called(installed, tmp_path, "python", "-c", code)
    assert set(TASKS) <= set(done.stdout.split()), done.stderr


def test_it_delivers_and_serves_scripts_and_pages(run: Run) -> None:
    collector, management = (run.environment[f"{name}_URL"] for name in ("COLLECTOR", "MANAGEMENT"))
    script = requests.get(f"{collector}/d.js", timeout=5)
    assert (script.status_code, "_df" in script.text) == (200, True)
    page = requests.get(management, timeout=5)
    assert (page.status_code, "<form" in page.text) == (200, True)
    for name in ("static/ui.css", "v1/admin/docs", "healthz"):
        answer = requests.get(f"{management}/{name}", timeout=5, auth=("x", _token(run)))
        assert answer.status_code == 200, (name, answer.text)


def test_ctrl_c_stops_it(run: Run) -> None:
    os.killpg(run.pid, signal.SIGINT)
    assert run.ended() == 0
    assert run.living() == {}
    assert "Traceback" not in run.log


def test_each_process_is_started_by_its_name(installed: Path, folder: Path, run: Run) -> None:
    """A supervisor's TERM must reach the process itself, not a shell around it."""
    address = run.environment["COLLECTOR_BIND"]
    environment = {"PATH": "/usr/bin:/bin", "SIGNAL_VAR": str(folder / "state"), "COLLECTOR_BIND": address}
    command = [str(installed / "signal-worker"), "start", "collector"]
    with subprocess.Popen(
        command, cwd=folder, env=environment | {"BROKER_URL": "redis://127.0.0.1:1/0"}
    ) as started:
        try:
            until("the collector answers", lambda: _answers(f"http://{address}/healthz"), seconds=30)
        finally:
            started.terminate()
        assert started.wait(30) == 0


def test_a_process_without_a_broker_is_not_started(installed: Path, folder: Path) -> None:
    done = _called(installed, folder, "signal-worker", "start", "beat")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "BROKER_URL must be set: only `run` starts an embedded broker.\n"


def test_every_process_of_the_procfile_can_be_started(installed: Path, folder: Path) -> None:
    text = _called(installed, folder, "signal-worker", "start", "--help").stdout
    assert "{" + "|".join(procfile.commands()) + "}" in text.replace("\n", "").replace(" ", "")


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except (requests.ConnectionError, requests.Timeout):
        # Nothing listens yet, or gunicorn's worker is still loading.
        return False


def _token(run: Run) -> str:
    _, _, after = run.log.partition("Your token")
    return after.split()[0]
