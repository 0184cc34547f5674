"""A PostgreSQL server that a test starts, stops and kills."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

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

    def stop(self) -> None:
        """End its sessions and stop, as the system does when it restarts the server."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "stop")

    def turn_read_only(self) -> None:
        """Keep every session, and refuse its writes, as a demoted primary does behind some proxies."""
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            connection.execute("SELECT pg_reload_conf()")

    @contextmanager
    def standby(self, folder: Path) -> Iterator["Cluster"]:
        """Run a standby; from then on each commit waits for it."""
        _make_folder(folder)
        copy = Cluster(self._binaries, folder)
        copy._run(
            "pg_basebackup",
            "-d",
            self.url.replace("+psycopg", ""),
            "-D",
            str(copy._data),
            "-R",
            "--no-sync",
            "-c",
            "fast",
        )
        copy.start()
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        try:
            yield copy
        finally:
            copy.kill()

    def promote(self) -> None:
        """Make a standby the primary, and return when it takes writes."""
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        self._run("pg_ctl", "-D", str(self._data), "-w", "promote")

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
    _make_folder(folder)
    cluster = Cluster(found[-1] if found else Path(str(on_path)).parent, folder)
    cluster.create()
    try:
        yield cluster
    finally:
        with suppress(AssertionError):
            # The test may have killed it.
            cluster.kill()


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(folder, _ITS_USER)
