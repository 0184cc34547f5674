"""Brokers and workers that the tests start, watch and stop."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from worker.broker.kombu_internals import _unreadable_key

ROOT = Path(__file__).parent.parent.parent


def wait_until(done: Callable[[], Any], seconds: float = 45.0, every: float = 0.02) -> bool:
    """Return True as soon as ``done()`` is true, False when the time is up."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


@dataclass(frozen=True)
class Broker:
    """A real broker with a separate queue."""

    name: str
    url: str
    queue: str

    def another(self, number: int) -> "Broker":
        """Return the broker with another queue, which is declared."""
        other = replace(self, queue=f"{self.queue}-{number}")
        other.depth()
        return other

    def app(self, **conf: Any) -> Celery:
        """Return an app that publishes to the queue."""
        app = Celery("tests", broker=self.url, set_as_current=False)
        amqp = self.url.startswith("amqp")
        arguments = {"x-queue-type": "quorum"} if amqp else None
        queue = Queue(self.queue, Exchange(""), routing_key=self.queue, queue_arguments=arguments)
        app.conf.update(
            task_queues=[queue],
            task_default_queue=self.queue,
            task_default_exchange="",
            task_create_missing_queues=False,
            broker_transport_options={"confirm_publish": True} if amqp else {"socket_timeout": 5},
            broker_connection_timeout=2,
            **conf,
        )
        return app

    def depth(self) -> int:
        """Count the messages that are ready in the queue."""
        with self.app().connection_for_write() as connection:
            queue = self._queue(connection.default_channel)
            return int(queue.queue_declare(passive=False).message_count)

    def take_refused(self) -> list[str]:
        """Return and remove the messages that no worker could run, which are kept next to the queue."""
        name = _unreadable_key(self.queue)
        with self.app().connection_for_write() as connection:
            channel: Any = connection.default_channel
            if not self.url.startswith("amqp"):
                kept = [text.decode() for text in channel.client.lrange(name, 0, -1)]
                channel.client.delete(name)
                return kept
            found = iter(lambda: channel.basic_get(name, no_ack=True), None)
            kept = [f"{message.headers} {message.body}" for message in found]
            channel.queue_delete(name)
            return kept

    def delete(self) -> None:
        with self.app().connection_for_write() as connection:
            # On Redis, kombu deletes a queue's bindings, and its messages only with them.
            self._queue(connection.default_channel).purge()
            self._queue(connection.default_channel).delete()
            if self.url.startswith("amqp"):
                # The sample app's, of the queue's own name.
                connection.default_channel.exchange_delete(self.queue)

    def _queue(self, channel: Any) -> Any:
        return self.app().amqp.queues[self.queue](channel)


class Worker:
    """A worker process of the sample app."""

    def __init__(self, broker: Broker, folder: Path, *options: str, **environment: str) -> None:
        folder.mkdir(exist_ok=True)
        self.notes_path, self.log_path = folder / "notes.jsonl", folder / "worker.log"
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tests.broker.sample_app",
            "worker",
            "-Q",
            broker.queue,
        ]
        command += [
            "--without-gossip",
            "--without-mingle",
            "-l",
            "info",
            "-n",
            f"{broker.queue}@%h",
            *options,
        ]
        variables = {
            **os.environ,
            "SAMPLE_QUEUE": broker.queue,
            "SAMPLE_BROKER": broker.url,
            "SAMPLE_NOTES": str(self.notes_path),
            "SIGNAL_VAR": str(folder),
            "PYTHONWARNINGS": "default",
            **environment,
        }
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)

    def wait_ready(self) -> None:
        assert wait_until(lambda: " ready." in self.log() or self.process.poll() is not None), self.log()
        assert self.process.poll() is None, self.log()

    def log(self) -> str:
        return self.log_path.read_text()

    def notes(self) -> list[dict[str, Any]]:
        """Return what ran so far."""
        if not self.notes_path.exists():
            return []
        # A line that crosses a page is seen in two parts: what follows the last line end is still being written.
        whole, _, _ = self.notes_path.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def ids(self) -> list[int]:
        return [id_ for note in self.notes() for id_ in note.get("ids", ())]

    def stop(self) -> int:
        """Stop warmly and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """Kill the worker and its children as a power cut would."""
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        self.process.kill()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        self.process.wait(5)


@contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    """Wait until the worker is ready; stop it at the end if the test has not."""
    try:
        worker.wait_ready()
        yield worker
    finally:
        if worker.process.poll() is None:
            try:
                worker.stop()
            except subprocess.TimeoutExpired:
                worker.kill()
