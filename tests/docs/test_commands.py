"""What the documents tell a reader to type works as printed, or stands on a short list with the reason.

What is typed as root (behind ``#``) changes the machine, and is not run here.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dev.conftest import Run, lent
from tests.dev.test_stack import DELIVERIES
from tests.docs.reading import ROOT, paths, read
from worker.settings import parse

OPERATING = ROOT / "docs" / "operating.md"

NOT_RUN = {
    r"make run\b": "tests/dev runs it",
    r"make (test|test-slow|lint|format|chaos|bench|stress)\b": "it would run this test, or for a quarter of an hour",
    r"(make build && )?docker ": "there is no Docker where this runs; tests/package/test_container.py checks the files",
    r"\.venv/bin/python -m pytest\b": "what it runs is run anyway",
    r"make (build|docs|clean)\b": "tests of their own run the first two; the last removes what runs this",
}
FILES = {
    "event.json": '{"type": "track", "event": "Order Completed", "timestamp": "2030-01-29T14:53:20Z"}',
    "sales.csv": "event,timestamp,order_id,total,currency,num_items\n"
    "Order Completed,2030-01-29T14:53:20Z,S-1,5,EUR,1\n",
    "sales.jsonl": '{"event": "Order Completed", "timestamp": "2030-01-29T14:53:20Z", "properties": {}}\n',
    "till.csv": "date;Beleg;Betrag;currency\n29.01.2030 15:53;T-1;12,50;EUR\n",
}


@dataclass(frozen=True)
class Typed:
    """Hold a command and where it stands."""

    document: str
    command: str

    @property
    def reason(self) -> str | None:
        return next((why for what, why in NOT_RUN.items() if re.match(what, self.command)), None)


TYPED = [Typed(read(path).name, command) for path in paths() for command in read(path).commands]
RUN = [typed for typed in TYPED if typed.reason is None]


def test_every_reason_still_has_its_command() -> None:
    used = {typed.reason for typed in TYPED}
    assert {what for what, why in NOT_RUN.items() if why not in used} == set()


def test_nearly_all_commands_are_run() -> None:
    assert len(RUN) >= 15
    assert {"README.md", "docs/offline.md", "docs/going-live.md"} <= {typed.document for typed in RUN}


def test_the_settings_that_an_operator_pastes_are_complete() -> None:
    """With PRODUCTION=1 nothing is made up: one that is missing would stop every process."""
    (block,) = re.findall(r"cat > /etc/signal.env <<END\n(.*?)END\n", OPERATING.read_text(), re.DOTALL)
    pasted = f"PASSWORD=secret; cat <<END\n{block}END\n"
    done = subprocess.run(["bash", "-eu", "-c", pasted], capture_output=True, text=True, check=True)
    settings = parse(dict(line.split("=", 1) for line in done.stdout.splitlines()))
    assert settings.production
    assert settings.metrics_token
    assert settings.broker_url == "amqp://signal:secret@127.0.0.1:5672/signal"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with lent(Run(tmp_path_factory.mktemp("r"))) as one:
        one.start()
        one.await_delivered(DELIVERIES)
        yield one


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that the commands name."""
    folder = tmp_path_factory.mktemp("reader")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    subprocess.run(["gzip", "--keep", "sales.jsonl"], cwd=folder, check=True)
    return folder


# Each command starts Python, which on a busy machine takes seconds.
@pytest.mark.timeout(400)
@pytest.mark.slow
def test_every_command_does_what_its_document_says(run: Run, folder: Path) -> None:
    """In the order in which a reader comes to them: later ones need what earlier ones made."""
    failed = [told for typed in RUN if (told := _trouble(typed, run, folder))]
    assert not failed, "\n".join(failed)


def _trouble(typed: Typed, run: Run, folder: Path) -> str | None:
    command = _filled_in(typed.command, run)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=run.environment | {"PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    said = done.stdout + done.stderr
    refused = '"error":' in said or '"success":false' in said
    if done.returncode == 0 and not refused and "Traceback" not in said:
        return None
    return f"{typed.document}: {typed.command}\n{said}"


def _filled_in(command: str, run: Run) -> str:
    """Put in what a reader would: the token, the key, and the addresses of this run."""
    told = {name: re.search(rf"{name} +(\S+)", run.log) for name in ("Your token", "Your pipeline key")}
    assert all(told.values()), run.log
    changes = {
        "YOUR_TOKEN": str(told["Your token"] and told["Your token"][1]),
        "YOUR_PIPELINE_KEY": str(told["Your pipeline key"] and told["Your pipeline key"][1]),
        "python -m worker": f"{sys.executable} -m worker",
    }
    for name, port in (("COLLECTOR", 8080), ("MANAGEMENT", 8084), ("FLOWER", 5555)):
        changes |= {
            f"http://{host}:{port}": run.environment[f"{name}_URL"] for host in ("localhost", "127.0.0.1")
        }
    changes["curl "] = "curl --silent --show-error "
    for what, instead in changes.items():
        command = command.replace(what, instead)
    return command
