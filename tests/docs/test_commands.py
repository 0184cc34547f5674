"""The commands in the documents work as printed; exceptions have a reason.

Commands for root (after ``#``) change the machine and are not run.
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
    r"make (test|test-slow|lint|format|chaos|mutants|bench|stress)\b": "it would run this test, or take 15 minutes",
    r"(make build && )?docker ": "Docker may be missing; tests/package/test_container.py checks the files",
    r"python -m worker orders report": "it needs the shop's own orders; tests/cli/test_orders.py runs it",
    r"\.venv/bin/python -m pytest\b": "these tests run anyway",
    r"make (build|docs|lock|clean)\b": "other tests cover the first three; the last removes this environment",
    r"git verify-tag |sha256sum dist|pip install ": "needs a published release; tests/package installs a built one",
}
FILES = {
    "event.json": (ROOT / "event.json").read_text(),
    "sales.csv": "event,timestamp,order_id,total,currency,num_items\n"
    "Order Completed,2030-01-29T14:53:20Z,S-1,5,EUR,1\n",
    "sales.jsonl": '{"event": "Order Completed", "timestamp": "2030-01-29T14:53:20Z", "properties": {}}\n',
    "till.csv": "date;Beleg;Betrag;currency\n29.01.2030 15:53;T-1;12,50;EUR\n",
}


@dataclass(frozen=True)
class Typed:
    """A command and its document."""

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
    """With PRODUCTION=1 a missing setting stops every process."""
    (block,) = re.findall(r"cat > /etc/signal.env <<END\n(.*?)END\n", OPERATING.read_text(), re.DOTALL)
    pasted = f"PASSWORD=secret; cat <<END\n{block}END\n"
    done = subprocess.run(["bash", "-eu", "-c", pasted], capture_output=True, text=True, check=True)
    settings = parse(dict(line.split("=", 1) for line in done.stdout.splitlines()))
    assert settings.production
    assert settings.metrics_token
    assert settings.broker_url == "amqp://signal:secret@127.0.0.1:5672/signal"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with lent(Run(tmp_path_factory.mktemp("r"))) as stack:
        stack.start()
        stack.await_delivered(DELIVERIES)
        yield stack


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that the commands use."""
    folder = tmp_path_factory.mktemp("reader")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    subprocess.run(["gzip", "--keep", "sales.jsonl"], cwd=folder, check=True)
    return folder


# Each command starts Python, which takes seconds on a busy machine.
@pytest.mark.timeout(400)
@pytest.mark.slow
def test_every_command_does_what_its_document_says(run: Run, folder: Path) -> None:
    """They run in the order of the documents, because later commands need the results of earlier ones."""
    failed = [problem for typed in RUN if (problem := _problem(typed, run, folder))]
    assert not failed, "\n".join(failed)


def _problem(typed: Typed, run: Run, folder: Path) -> str | None:
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
    output = done.stdout + done.stderr
    refused = '"error":' in output or '"success":false' in output
    if done.returncode == 0 and not refused and "Traceback" not in output:
        return None
    return f"{typed.document}: {typed.command}\n{output}"


def _filled_in(command: str, run: Run) -> str:
    """Fill in the token, the key and the addresses of this run."""
    matches = {name: re.search(rf"{name} +(\S+)", run.log) for name in ("Your token", "Your pipeline key")}
    assert all(matches.values()), run.log
    changes = {
        "YOUR_TOKEN": str(matches["Your token"] and matches["Your token"][1]),
        "YOUR_PIPELINE_KEY": str(matches["Your pipeline key"] and matches["Your pipeline key"][1]),
        "python -m worker": f"{sys.executable} -m worker",
        # A page brings the first one; README.md's event.json brings the second.
        "ORD-001": "ORD-777",
    }
    for name, port in (("COLLECTOR", 8080), ("MANAGEMENT", 8084), ("FLOWER", 5555)):
        changes |= {
            f"http://{host}:{port}": run.environment[f"{name}_URL"] for host in ("localhost", "127.0.0.1")
        }
    changes["curl "] = "curl --silent --show-error "
    for old, new in changes.items():
        command = command.replace(old, new)
    return command
