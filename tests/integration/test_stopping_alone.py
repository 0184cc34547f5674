"""Beat and workers end while their broker is away."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.wire import Fault, wired
from tests.integration import services
from tests.integration.waiting import until
from worker.settings import parse

COMMANDS = {"beat": ("beat",), "worker": ("worker", "-Q", "delivery", "-c", "2")}
# Supervisor kills beat after 15 seconds, workers after 60.
GRACE_SECONDS = {"beat": 12.0, "worker": 25.0}


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(180)
@pytest.mark.parametrize("what", COMMANDS)
@pytest.mark.parametrize(
    ("port", "url"),
    [(6379, "redis://127.0.0.1:{}/9"), (5672, "amqp://guest:guest@127.0.0.1:{}//")],
    ids=["redis", "rabbitmq"],
)
@pytest.mark.parametrize("fault", ["closed", "silent", "silent later"])
def test_beat_and_workers_end_while_the_broker_is_away(
    tmp_path: Path, what: str, port: int, url: str, fault: str
) -> None:
    with ExitStack() as held:
        wire = held.enter_context(wired(("127.0.0.1", port)))
        wire.fault = Fault(silent=fault == "silent")
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "SIGNAL_VAR": str(tmp_path),
            "BROKER_URL": url.format(services.free_port() if fault == "closed" else wire.port),
        }
        parse(environment)
        migrate = [sys.executable, "-m", "worker", "migrate"]
        subprocess.run(migrate, env=environment, check=True, stdout=subprocess.DEVNULL)
        with (tmp_path / "log").open("wb") as log:
            command = [sys.executable, "-m", "worker.broker.processes", *COMMANDS[what]]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        held.callback(process.wait, 5)
        held.callback(process.kill)
        if fault == "closed":
            until("it looks for its broker", lambda: b"refused" in (tmp_path / "log").read_bytes(), 60)
        else:
            until("it has a connection", lambda: wire.connections, 60)
            time.sleep(3.0)
        if fault == "silent later":
            wire.fault = Fault(silent=True)
            time.sleep(4.0)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(60) == 0, (tmp_path / "log").read_text()[-2_000:]
        assert time.monotonic() - began < GRACE_SECONDS[what]
