"""Trace an event from the collector to its end, and list the product's modules in the order in which it enters them.

``python -m tests.docs.event_way`` prints the table for docs/architecture.md; ``--write`` updates it there. The event
passes the collector's app, a real Valkey, a Celery worker, SQLite and the sandbox. App, publisher and worker run in
one process, which traces every function call. Setup before the request and the sandbox do not count.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from docs import product
from docs.figures import way_table
from worker.dev import embedded_broker
from worker.dev.sandbox.server import sandbox_process
from worker.settings import settings

SECONDS = 30.0
TICK_SECONDS = 0.25
QUEUES = ("events", "batching", "delivery")
EVENT = {
    "type": "track",
    "event": "Order Completed",
    "userId": "42",
    "context": {"traits": {"email": "john.doe@example.com"}, "page": {"url": "https://example.com/thanks"}},
    "properties": {"order_id": "O-1", "total": 5.0, "currency": "EUR", "products": [{"product_id": "P-1"}]},
}


class Step(NamedTuple):
    """A step with its first module (none for the first step) and a description."""

    name: str
    first: str
    text: str


STEPS = (
    Step("receive", "", "the collector checks key or signature, size and rate, and reads the body"),
    Step(
        "accept",
        "worker.pipeline.ingest.accepting",
        "the event is checked and sealed; all events of a request are committed in one transaction, then the collector "
        "answers 200",
    ),
    Step("hint", "worker.broker.publisher", "a thread publishes the ids while the collector answers"),
    Step("consume", "worker.broker.celery_internals", "a worker collects ids for one run of the task"),
    Step(
        "ingest",
        "tasks.ingest",
        "inbox rows are decrypted, the visitor's identity is added, consent is checked per integration, the event is "
        "mapped, hashed and checked; one transaction replaces the inbox rows with deliveries",
    ),
    Step(
        "batch",
        "tasks.batching",
        "up to 1,000 events and 2 MB per ad account, credential and test flag become a batch when it is full or "
        "when the oldest event has waited `BATCH_INTERVAL`",
    ),
    Step(
        "deliver",
        "tasks.delivery",
        "the batch is leased, one token of the account's rate is used, the stored payloads are joined and posted",
    ),
    Step(
        "settle",
        "worker.pipeline.delivery.apply_decision",
        "the decision on the answer is applied: settle, postpone, halve or pause",
    ),
)


class Trace:
    """Record the product's modules as their functions are called, each once and in order."""

    def __init__(self) -> None:
        self.modules: list[str] = []
        self.recording = False
        self._left = {str(product.ROOT / path): name for name, path in product.modules().items()}

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Record a call; importing a module does not count, nor what a worker looks up in the background."""
        if not self.recording or event != "call" or frame.f_code.co_name == "<module>":
            return
        if threading.current_thread().name == "left-over-queues":
            return
        if module := self._left.pop(frame.f_code.co_filename, None):
            self.modules.append(module)


def modules_on_the_way(folder: Path) -> list[str]:
    """Return the modules that an event enters, traced in a new process."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("BROKER_URL", "DATABASE_URL")
    }
    environment["SIGNAL_VAR"] = str(folder)
    with sandbox_process("--quiet") as sandbox:
        environment |= {"PINTEREST_API_URL": sandbox.url, "ALLOW_SANDBOX": "1", "BATCH_INTERVAL": "0.05"}
        done = subprocess.run(
            [sys.executable, "-c", "from tests.docs.event_way import trace; trace()"],
            cwd=product.ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=3 * SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    return modules


def trace() -> None:
    """Send an event through all steps, and print the modules as a JSON list."""
    followed = Trace()
    # Only threads that start later are traced.
    threading.setprofile(followed)
    sys.setprofile(followed)
    with embedded_broker.run_broker(settings().var):
        _send(followed)
    print(json.dumps(followed.modules), flush=True)
    # Do not wait for the threads of publisher and meter.
    os._exit(0)


def _send(followed: Trace) -> None:
    from celery import signals

    from tests.ledger.shop import place, stand
    from worker import runtime
    from worker.app import app
    from worker.collector.wsgi import create_app
    from worker.ledger.migrate import migrate
    from worker.monitoring.meter import Meter

    app.loader.import_default_modules()
    ledger = runtime.ledger()
    migrate(ledger)
    ledger.vault.prepare()
    place(ledger)
    ended = {name: threading.Event() for name in ("process_event", "group_pending", "deliver_batch")}
    signals.task_postrun.connect(lambda sender, **_: ended[sender.name.rpartition(".")[2]].set(), weak=False)
    # Without a writer: its thread would enter modules at random times.
    meter = Meter()
    publisher = runtime.hint_publisher(app, meter)
    accepted: list[int] = []
    client = create_app(ledger, settings(), _collecting(accepted), meter=meter).test_client()
    _start_worker(app)
    # The first task opens its own ledger.
    runtime.ledger.cache_clear()
    followed.recording = True
    answer = client.post(
        "/v1/batch", json={"batch": [EVENT]}, headers={"Authorization": "Bearer dk_live_src_shop"}
    )
    assert answer.status_code == 200, answer.text
    # After the answer, so that the order of modules is stable.
    publisher.offer(accepted)
    assert ended["process_event"].wait(SECONDS)
    # Repeated like beat's ticks, until the event has waited long enough.
    for _ in range(int(SECONDS / TICK_SECONDS)):
        app.send_task("tasks.batching.group_pending")
        if ended["deliver_batch"].wait(TICK_SECONDS):
            break
    followed.recording = False
    assert stand(ledger) == {"delivered": 1}


def _collecting(accepted: list[int]) -> Callable[[Sequence[int]], int]:
    def offer(ids: Sequence[int]) -> int:
        accepted.extend(ids)
        return len(ids)

    return offer


def _start_worker(app: Any) -> None:
    from celery import signals

    ready = threading.Event()
    signals.worker_ready.connect(lambda **_: ready.set(), weak=False)
    worker = app.Worker(
        queues=QUEUES, pool="threads", concurrency=2, without_mingle=True, without_gossip=True
    )
    # The thread ends with the process.
    threading.Thread(target=worker.start, name="worker", daemon=True).start()
    assert ready.wait(SECONDS)


def table(modules: Sequence[str]) -> str:
    """Return the document's table: each step with the modules that the event enters in it."""
    rows = [f"| {step.name} | {step.text} | {_grouped(some)} |" for step, some in _by_step(modules)]
    head = "| step | what happens | modules, in the order in which the event first enters them |"
    return "\n".join([head, "|---|---|---|", *rows])


def _by_step(modules: Sequence[str]) -> Iterator[tuple[Step, Sequence[str]]]:
    starts = [modules.index(step.first) if step.first else 0 for step in STEPS]
    for step, start, end in zip(STEPS, starts, [*starts[1:], len(modules)], strict=True):
        yield step, modules[start:end]


def _grouped(modules: Sequence[str]) -> str:
    """Write modules as ``package: module, module; package: module``."""
    parts = (module.removeprefix("worker.").rpartition(".") for module in modules)
    return "; ".join(
        f"{package or 'worker'}: {', '.join(name for *_, name in some)}"
        for package, some in groupby(parts, key=itemgetter(0))
    )


def _write(written: str) -> None:
    document = product.ROOT / "docs" / "architecture.md"
    text = document.read_text()
    document.write_text(text.replace(way_table(), written))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = table(modules_on_the_way(Path(folder)))
    if sys.argv[1:] == ["--write"]:
        _write(made)
    else:
        sys.stdout.write(f"{made}\n")
