"""The whole stack, as one command starts it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.dev.processes import living
from tests.integration.services import free_port
from tests.integration.waiting import until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


class Run:
    """``python -m worker run`` with a state folder and ports of its own."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str] = (sys.executable, "-m", "worker", "run"),
        started_in: Path = ROOT,
    ) -> None:
        self.command = command
        self.started_in = started_in
        self.var = folder / "v"
        self.log_path = folder / "run.log"
        self.environment = _environment(self.var)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, output: int | None = None) -> None:
        """Start it as the leader of a process group, like a terminal's foreground job."""
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.started_in,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log if output is None else output,
                stderr=log,
                process_group=0,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def delivered(self) -> int:
        """Count the lines of deliveries that were printed."""
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return self.log.count("delivered ")

    def await_delivered(self, n: int) -> None:
        until(f"{n} deliveries are printed", lambda: self.delivered() >= n, seconds=60)

    def ended(self, seconds: float = 45.0) -> int:
        """Wait for its end; return the exit status."""
        assert self.process is not None
        return self.process.wait(seconds)

    def living(self) -> dict[int, str]:
        """Return the command lines of all processes that were started for this state folder, by id."""
        return living(self.var)

    def kill_everything(self) -> None:
        """Kill the remaining processes."""
        for pid in self.living():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)


def _environment(var: Path) -> dict[str, str]:
    made: Mapping[str, str] = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "SIGNAL_VAR": str(var),
        "SANDBOX_URL": f"http://127.0.0.1:{free_port()}",
    }
    ports = {name: f"127.0.0.1:{free_port()}" for name in ("COLLECTOR", "MANAGEMENT", "FLOWER")}
    binds = {f"{name}_BIND": address for name, address in ports.items()}
    urls = {f"{name}_URL": f"http://{address}" for name, address in ports.items()}
    return {**made, **binds, **urls}


@contextmanager
def lent(run: Run) -> Iterator[Run]:
    """Lend a run that is not started yet; kill its processes afterwards."""
    try:
        yield run
    finally:
        run.kill_everything()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Lend a run that is not started yet; one state folder for all tests of a module."""
    with lent(Run(tmp_path_factory.mktemp("r"))) as one:
        yield one
