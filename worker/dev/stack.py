"""Run every process of the Procfile, with the embedded broker, the sandbox and the demo where they are needed."""

import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import honcho.manager
from honcho.printer import Message, Printer

from worker import procfile
from worker.dev import embedded_broker, shop_walk
from worker.ledger import migrate
from worker.runtime import ledger
from worker.settings import Settings, SettingsError, parse

_SANDBOX_URL = "http://127.0.0.1:8090"

# After this time honcho kills processes. A warm shutdown may wait for a request's whole deadline.
_STOP_SECONDS = 40


def run_stack() -> int:
    """Run the stack until Ctrl-C; return the exit status."""
    environment = _environment()
    settings = parse(environment)
    if settings.production:
        raise SettingsError(
            "PRODUCTION",
            "must be 0 for `run`, which is for tests and development; use `start` in production.",
        )
    environment = procfile.environment(settings, environment)
    os.environ.update(environment)
    with ExitStack() as stack:
        stack.enter_context(_lock_state(settings.var))
        _check_ports(environment, settings)
        if settings.embedded_broker:
            stack.enter_context(embedded_broker.run_broker(settings.var))
        migrate.migrate(ledger())
        shop_walk.create_demo(ledger(), settings)
        ledger().dispose()
        return _run_processes(environment, settings)


@contextmanager
def _lock_state(var: Path) -> Iterator[None]:
    """Hold the state folder, so that a second run cannot stop this one's broker. The kernel releases it on any end.

    Raises:
        SettingsError: another run holds it.
    """
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (var / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            why = (
                f"names a state folder where a run is already running (pid {lock.read().strip() or 'unknown'}): {var}. "
                "Stop it with Ctrl-C first, or give this one another SIGNAL_VAR and other ports."
            )
            raise SettingsError("SIGNAL_VAR", why) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _check_ports(environment: Mapping[str, str], settings: Settings) -> None:
    """Try every address that the processes will listen on.

    Raises:
        SettingsError: names the variable of an address that is taken or not of this machine.
    """
    defaults = {"COLLECTOR_BIND": 8080, "MANAGEMENT_BIND": 8084, "FLOWER_BIND": 5555}
    addresses = {name: environment.get(name) or f"127.0.0.1:{port}" for name, port in defaults.items()}
    if settings.pinterest_api_url == environment["SANDBOX_URL"]:
        addresses["SANDBOX_URL"] = urlsplit(environment["SANDBOX_URL"]).netloc
    with ExitStack() as stack:
        for name, address in addresses.items():
            host, _, port = address.strip().rpartition(":")
            host = host.strip("[]")
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                # Held until all are tried, so that two of them cannot be the same.
                stack.enter_context(socket.create_server((host, int(port)), family=family))
            except OSError as error:
                names = [other for other, value in addresses.items() if value == address and other != name]
                # Python repeats the address.
                system = str(error.strerror).partition(" (while")[0]
                reason = f"{names[0]} is the same" if names else system
                why = f"is {address}, where this cannot listen ({reason}). Set {name} to another port."
                raise SettingsError(name, why) from None


def _environment() -> dict[str, str]:
    """Return the environment of every process: the caller's, with the sandbox if PINTEREST_API_URL is not set."""
    environment = {"SANDBOX_URL": _SANDBOX_URL} | os.environ
    if "PINTEREST_API_URL" not in environment:
        environment |= {"PINTEREST_API_URL": environment["SANDBOX_URL"], "ALLOW_SANDBOX": "1"}
        # The sandbox accepts any app.
        environment |= {"PINTEREST_APP_ID": "sandbox", "PINTEREST_APP_SECRET": "sandbox"}
    # The demo sends a visitor's address in X-Forwarded-For, as a proxy on this machine would.
    environment.setdefault("TRUSTED_PROXIES", "127.0.0.1")
    # A browser on this machine has no public address, and Pinterest takes no event without one or an e-mail address.
    if environment.get("ALLOW_SANDBOX") == "1" and environment.get("PRODUCTION", "0") in ("", "0"):
        environment.setdefault("LOCAL_CLIENT_IP", "203.0.113.50")
    # The processes write to a pipe, so they cannot see whether their output ends in a terminal.
    environment.setdefault("LOG_FORMAT", "text" if sys.stdout.isatty() else "json")
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def _run_processes(environment: dict[str, str], settings: Settings) -> int:
    honcho.manager.KILL_WAIT = _STOP_SECONDS
    manager = _Manager(_Printer(sys.stdout))
    for name, command in _commands(environment["SANDBOX_URL"], settings).items():
        manager.add_process(name, command, env=environment, cwd=str(procfile.HOME))
    # Closing the terminal stops everything, like Ctrl-C. Processes left over would hold the ports.
    signal.signal(signal.SIGHUP, lambda *_: _stop())
    manager.loop()
    # INT and TERM are the normal ways to stop this.
    return 0 if manager.returncode in (0, 130, 143) else int(manager.returncode or 1)


def _commands(sandbox_url: str, settings: Settings) -> dict[str, str]:
    commands = procfile.commands()
    if settings.pinterest_api_url == sandbox_url:
        commands["sandbox"] = f"python -m worker.dev.sandbox --port {urlsplit(sandbox_url).port}"
        commands["demo"] = f"python -m worker demo --sandbox-url {sandbox_url}"
    return commands


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class _Manager(honcho.manager.Manager):  # type: ignore[misc]  # honcho ships no types.
    def terminate(self) -> None:
        """Stop every process, after honcho has started all: before that, it fails and leaves some running."""
        if self._all_started():
            super().terminate()
        else:
            threading.Timer(0.1, _stop).start()


class _Printer(Printer):  # type: ignore[misc]  # honcho ships no types.
    """Print lines; stop everything when the reader of the output has closed it."""

    def write(self, message: Message) -> None:
        try:
            super().write(message)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.output.fileno())
            _stop()
