"""Supervisor and honcho run the whole stack: an event arrives, and everything stops in order."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.checkout import lay
from tests.dev.processes import living
from tests.integration import stack as stacks
from tests.integration.shop import Shop, Visitor
from tests.integration.stack import BIN, Plan, Stack
from tests.integration.waiting import until
from worker.settings import socket_path

pytestmark = pytest.mark.slow

STOP_SECONDS = 60.0
# Signs of a stop that was not clean; the second is honcho's.
UNCLEAN = ("Traceback", "sending SIGKILL", "WorkerLostError")


@contextmanager
def checkout(tmp_path: Path) -> Iterator[tuple[Stack, Path]]:
    """Provide a prepared stack and the folder to start it in."""
    folder = lay(tmp_path / "c")
    with stacks.prepared(Plan(), folder / "var") as stack:
        yield stack, folder


def spawn(stack: Stack, folder: Path, *command: str) -> "subprocess.Popen[bytes]":
    with (folder / "out.log").open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=stack.environment | {"VENV": str(BIN.parent)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def deliver(shop: Shop, number: int) -> None:
    shop.send("/v1/t", {"event": "Signed Up", "messageId": f"event_{number}"}, Visitor())
    shop.await_delivered(number)


def await_answers(stack: Stack, folder: Path) -> None:
    """Wait until every process answers; show the ends of their logs if one does not."""
    try:
        for url in (stack.collector_url, stack.management_url):
            until(f"{url} answers", lambda url=url: stack.answers(f"{url}/healthz"), 120)
        until("the workers answer", lambda: {"delivery", "upkeep"} <= stack.ping(3), 60)
        until("Flower answers", lambda: stack.answers(f"{stack.flower_url}/healthcheck"), 60)
    except AssertionError:
        for path in logs(folder):
            print(f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}")
        raise


def logs(folder: Path) -> list[Path]:
    return [folder / "out.log", *sorted((folder / "var").glob("*.log"))]


def assert_nothing_is_left(stack: Stack) -> None:
    def left() -> list[str]:
        return [
            line
            for line in living(stack.var).values()
            if "embedded_broker" not in line and "valkey" not in line
        ]

    until("no process is left", lambda: not left(), 20)


# Each process starts Python, which takes seconds on a busy machine.
@pytest.mark.timeout(400)
def test_supervisor_runs_restarts_and_stops_everything_in_order(tmp_path: Path) -> None:
    with checkout(tmp_path) as (stack, folder):
        conf = str(folder / "deploy" / "supervisord.conf")
        settings = folder / "signal.env"
        broker = f"BROKER_URL=redis+socket://{socket_path(stack.var)}?virtual_host=0\n"
        settings.write_text(f"{broker}DELIVERY_CONCURRENCY=2\n")
        supervisord = spawn(
            stack, folder, "env", f"SIGNAL_ENV={settings}", str(BIN / "supervisord"), "-c", conf
        )
        try:
            await_answers(stack, folder)
            shop = Shop(stack)
            deliver(shop, 1)

            def control(*words: str) -> str:
                command = [str(BIN / "supervisorctl"), "-c", conf, *words]
                environment = stack.environment | {"VENV": str(BIN.parent)}
                done = subprocess.run(
                    command,
                    cwd=folder,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=90,
                    check=False,
                )
                return done.stdout

            status = control("status")
            assert len(re.findall(r" RUNNING ", status)) == 7, status

            os.kill(int(control("pid", "workers:delivery")), signal.SIGKILL)
            deliver(shop, 2)
            settings.write_text(f"{broker}DELIVERY_CONCURRENCY=3\n")
            assert "workers:delivery" in control("restart", "workers:delivery")
            delivery = Path("/proc", control("pid", "workers:delivery").strip())
            until(
                "the restarted process uses the changed settings",
                lambda: b"\0--concurrency\x003\0" in (delivery / "cmdline").read_bytes(),
                20,
            )

            os.kill(supervisord.pid, signal.SIGTERM)
            assert supervisord.wait(STOP_SECONDS) == 0
        finally:
            end(supervisord)
        assert_nothing_is_left(stack)
        log = (folder / "var" / "supervisord.log").read_text()
        last = log[log.rindex("received SIGTERM") :]
        stopped = re.findall(r"stopped: ([\w-]+)", last)
        assert stopped[0] == "collector"
        assert stopped[1] == "beat"
        assert set(stopped[2:5]) == {"delivery", "ingest-0", "upkeep"}
        assert set(stopped[5:]) == {"management", "flower"}
        assert "killing" not in last
        assert_clean(folder)
        assert stack.command("books").returncode == 0


def test_honcho_runs_the_procfile_and_stops_all_of_it(tmp_path: Path) -> None:
    with checkout(tmp_path) as (stack, folder):
        honcho = spawn(stack, folder, str(BIN / "honcho"), "-f", "Procfile", "start")
        try:
            await_answers(stack, folder)
            deliver(Shop(stack), 1)
            os.kill(honcho.pid, signal.SIGTERM)
            assert honcho.wait(STOP_SECONDS) in (0, 143)
        finally:
            end(honcho)
        assert_nothing_is_left(stack)
        assert_clean(folder)
        assert stack.command("books").returncode == 0


def assert_clean(folder: Path) -> None:
    for path in logs(folder):
        text = path.read_text(errors="replace")
        assert [word for word in UNCLEAN if word in text] == [], f"{path.name}: {text[-3000:]}"


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the processes that a failed test left."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
