"""One command runs everything, and Ctrl-C ends all of it."""

import os
import re
import signal
import socket
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest
import requests

from tests.dev.conftest import Run
from tests.integration.services import valkey_process_id
from tests.integration.waiting import until
from worker.dev.shop_walk import _WALK
from worker.settings import socket_path

# Every call of the walk is delivered except `identify`, which is not an event.
DELIVERIES = sum(path != "/v1/i" for path, _ in _WALK)
STOP_SECONDS = 45.0


def _assert_all_gone(run: Run) -> None:
    until("no process is left", lambda: not run.living(), seconds=30)
    assert "Traceback" not in run.log


def test_a_run_prints_a_line_for_each_delivery_and_ends_with_its_terminal(run: Run) -> None:
    run.start()
    run.await_delivered(DELIVERIES)
    assert "→ checkout" in run.log
    received = requests.get(f"{run.environment['SANDBOX_URL']}/received", timeout=5).json()
    assert received["accepted"] == DELIVERIES
    open_to_others = [path for path in (run.var, *run.var.rglob("*")) if path.stat().st_mode & 0o077]
    assert open_to_others == []
    assert {"secrets.json", "signal.db", "valkey", "flower.dat"} <= {path.name for path in run.var.iterdir()}
    _assert_a_second_run_touches_nothing(run)
    # A terminal sends this when it is closed.
    os.kill(run.pid, signal.SIGHUP)
    assert run.ended(STOP_SECONDS) == 0
    _assert_all_gone(run)


def _assert_a_second_run_touches_nothing(run: Run) -> None:
    broker, others = valkey_process_id(str(socket_path(run.var))), set(run.living())
    second = subprocess.run(
        run.command, cwd=run.started_in, env=run.environment, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"already running (pid {run.pid})" in second.stderr
    assert valkey_process_id(str(socket_path(run.var))) == broker
    assert set(run.living()) == others


def test_the_next_run_goes_on_with_what_a_killed_one_left_behind_and_stops_on_ctrl_c(run: Run) -> None:
    # The walk was sent in the first run.
    run.start()
    until("all services answer", lambda: "The stack is running." in run.log, seconds=60)
    _send_order(run, "K-1")
    run.await_delivered(1)
    secrets = (run.var / "secrets.json").read_bytes()
    broker = valkey_process_id(str(socket_path(run.var)))
    until("only the broker is left", lambda: _killed_all_but_the_broker(run), seconds=30)
    run.ended(5)

    run.start()
    until("all services answer", lambda: "The stack is running." in run.log, seconds=60)
    _send_order(run, "K-2")
    run.await_delivered(1)
    assert (run.var / "secrets.json").read_bytes() == secrets
    assert run.delivered() < DELIVERIES
    assert valkey_process_id(str(socket_path(run.var))) == broker
    # A terminal sends Ctrl-C to the whole foreground group, and the broker must still stop last.
    os.killpg(run.pid, signal.SIGINT)
    assert run.ended(STOP_SECONDS) == 0
    assert "The embedded broker was gone already" not in run.log
    assert "hints_held_up" not in run.log
    _assert_all_gone(run)
    assert not Path(f"/proc/{broker}").exists()


def _send_order(run: Run, order_id: str) -> None:
    printed = until("the key is printed", lambda: re.search(r"Your pipeline key +(\S+)\s", run.log))
    call = {
        "event": "Order Completed",
        "properties": {"order_id": order_id, "total": 5, "currency": "USD", "num_items": 1},
        "context": {"traits": {"email": "a@example.com"}, "consent": {"advertising": True}},
    }
    url = f"{run.environment['COLLECTOR_URL']}/v1/t"
    requests.post(
        url,
        json=call,
        headers={"Authorization": f"Bearer {printed[1]}", "User-Agent": "Mozilla/5.0"},
        timeout=10,
    ).raise_for_status()


def _killed_all_but_the_broker(run: Run) -> bool:
    broker = ("worker.dev.embedded_broker", "valkey-server")
    left = [pid for pid, command in run.living().items() if not any(name in command for name in broker)]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not left


@pytest.mark.parametrize("name", ["COLLECTOR_BIND", "SANDBOX_URL"])
def test_a_port_that_is_taken_is_named_before_anything_starts(run: Run, name: str) -> None:
    host, _, port = run.environment[name].removeprefix("http://").partition(":")
    with closing(socket.create_server((host, int(port)))):
        run.start()
        assert run.ended(STOP_SECONDS) == 1
    reason = "Address already in use"
    assert run.log.startswith(f"{name} is {host}:{port}, where this cannot listen ({reason}). Set {name}")
    assert "Traceback" not in run.log
    _assert_all_gone(run)


def test_two_addresses_that_are_the_same_are_named_before_anything_starts(run: Run) -> None:
    run.environment["FLOWER_BIND"] = run.environment["COLLECTOR_BIND"]
    run.start()
    assert run.ended(STOP_SECONDS) == 1
    assert run.log.startswith("FLOWER_BIND is ")
    assert "(COLLECTOR_BIND is the same). Set FLOWER_BIND to another port." in run.log
    _assert_all_gone(run)


@pytest.mark.slow
def test_a_process_that_ends_ends_everything_with_a_status(run: Run) -> None:
    run.start()
    started = until("the sandbox runs", lambda: re.search(r"sandbox started \(pid=(\d+)\)", run.log))
    # The shell that starts it is in its group.
    os.killpg(int(started[1]), signal.SIGKILL)
    assert run.ended(STOP_SECONDS) not in (0, None)
    _assert_all_gone(run)


@pytest.mark.slow
def test_output_that_nobody_reads_any_more_ends_everything(run: Run) -> None:
    reader, writer = os.pipe()
    run.start(writer)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    assert run.ended(STOP_SECONDS) == 0
    _assert_all_gone(run)
