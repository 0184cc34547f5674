"""The sandbox runs as a process and in a thread, and stops cleanly."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests

from tests.dev.sandbox.samples import TOKEN, event, post
from worker.dev.sandbox.__main__ import main
from worker.dev.sandbox.server import Sandbox, sandbox_in_thread, sandbox_process


@contextmanager
def start(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "worker.dev.sandbox", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def listening(process: "subprocess.Popen[str]") -> Sandbox:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("sandbox listening on http://127.0.0.1:")
    return Sandbox("127.0.0.1", int(line.rpartition(":")[2]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_exit_0_though_requests_hang(number: signal.Signals) -> None:
    with start() as process:
        sandbox = listening(process)
        sandbox.behave({"rules": [{"latency_seconds": 600}]})
        with ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(post, sandbox, [event()])
            deadline = time.monotonic() + 45
            while not sandbox.requests() and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(number)
            _, errors = process.communicate(timeout=10)
            assert isinstance(hanging.exception(), requests.ConnectionError)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_it_logs_faults_without_tokens_and_bodies() -> None:
    with start("--verbose") as process:
        sandbox = listening(process)
        sandbox.behave({"rules": [{"status": 500}]})
        post(sandbox, [event("evt_secret")])
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert "sandbox: 1 event for ad account 1234567890: rules [0], 500" in errors.splitlines()
    assert "POST /v5/ad_accounts/1234567890/events: 500" in errors
    assert TOKEN not in errors
    assert "evt_secret" not in errors


def test_it_logs_nothing_of_a_malformed_header() -> None:
    with start() as process:
        sandbox = listening(process)
        with socket.create_connection((sandbox.host, sandbox.port), timeout=10) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer\x00{TOKEN}\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert errors == ""


def test_a_port_in_use_is_said_in_words(sandbox: Sandbox) -> None:
    with pytest.raises(SystemExit, match=f"cannot listen on 127.0.0.1:{sandbox.port}"):
        main(["--port", str(sandbox.port)])
    with pytest.raises(OSError, match="in use"), sandbox_in_thread(port=sandbox.port):
        pass


def test_it_starts_again_on_the_same_port() -> None:
    with sandbox_process("--quiet") as sandbox:
        post(sandbox, [event()])
    with sandbox_process("--quiet", port=sandbox.port) as again:
        assert again.url == sandbox.url
        assert again.received()["requests"] == 0
    with sandbox_in_thread(port=sandbox.port) as again:
        assert post(again, [event()]).status_code == 200


def test_it_imports_nothing_of_the_rest_of_the_project() -> None:
    """The sandbox can check the client only if they share no code."""
    code = "import sys, worker.dev.sandbox.__main__; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name for name in output.split() if name.partition(".")[0] in ("worker", "tasks", "celery")}
    assert {name for name in loaded if not name.startswith("worker.dev.sandbox")} == {"worker", "worker.dev"}
