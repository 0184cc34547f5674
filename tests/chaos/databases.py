"""A PostgreSQL server that a test starts, stops and kills."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.services import free_port, missing

_DEBIANS = Path("/usr/lib/postgresql")
# PostgreSQL refuses to be run by root.
_ITS_USER = "postgres"


class Cluster:
    """A separate PostgreSQL server for a test."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries, self._data, self._folder = binaries, folder / "data", folder
        port = free_port()
        self.url = f"postgresql+psycopg://signal@127.0.0.1:{port}/postgres"
        self._options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"

    def create(self) -> None:
        """Create the data folder, and start the server."""
        self._run("initdb", "-D", str(self._data), "-U", "signal", "-A", "trust", "--no-sync")
        self.start()

    def start(self) -> None:
        """Start, and return once it answers."""
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", self._options, "start")

    def kill(self) -> None:
        """Kill all its processes at once, like a power failure; its log has the committed data."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        user = {"user": _ITS_USER, "group": _ITS_USER, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            **user,  # type: ignore[call-overload]  # three arguments of three types
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")


@contextmanager
def postgresql_cluster(folder: Path) -> Iterator[Cluster]:
    """Run a cluster for the time of a `with`; without the programs the test is skipped."""
    found = sorted(_DEBIANS.glob("*/bin"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        missing("PostgreSQL's initdb is not there")
    folder.mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(folder, _ITS_USER)
    cluster = Cluster(found[-1] if found else Path(str(on_path)).parent, folder)
    cluster.create()
    try:
        yield cluster
    finally:
        cluster.kill()
