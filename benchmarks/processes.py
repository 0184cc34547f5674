"""Memory and processor time of a stack's processes, from the kernel."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tests.integration.stack import Stack

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One process at one moment; the seconds are its own and those of children that ended."""

    id: int
    name: str
    session: int
    cpu_seconds: float


def of_stack(stack: Stack) -> dict[str, list[Process]]:
    """Return each part's processes: what was started and its children, which share a session."""
    names = {process.pid: name for name, process in stack.running.items()}
    by_name: dict[str, list[Process]] = defaultdict(list)
    for process in _all():
        if process.session in names:
            by_name[names[process.session]].append(process)
    return dict(by_name)


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """Return the processor time that each part used so far, and that of its servers."""
    times = {name: sum(process.cpu_seconds for process in parts) for name, parts in of_stack(stack).items()}
    for name, program in (("PostgreSQL", "postgres"), ("RabbitMQ", "beam.smp")):
        times[name] = sum(process.cpu_seconds for process in _all() if process.name == program)
    return times


def busy_seconds() -> float:
    """Return the processor time that all processes of the machine used so far."""
    user, nice, system, _idle, _waiting, *interrupts = (
        Path("/proc/stat").read_text().split("\n")[0].split()[1:8]
    )
    return sum(map(int, (user, nice, system, *interrupts))) / _TICKS_A_SECOND


def resident_megabytes(stack: Stack) -> dict[str, float]:
    """Return the memory of each part; the largest process if it has several."""
    return {name: max(_resident(process.id) for process in parts) for name, parts in of_stack(stack).items()}


@contextmanager
def watched(stack: Stack, every_seconds: float = 0.5) -> Iterator[list[Mapping[str, float]]]:
    """Record the memory of each part repeatedly during a `with`."""
    seen: list[Mapping[str, float]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(every_seconds):
            seen.append(resident_megabytes(stack))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _all() -> Iterator[Process]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield _parsed((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue


def _parsed(stat: str) -> Process:
    """Read a line of ``/proc/…/stat``; the name is in brackets and may contain anything."""
    number, _, rest = stat.partition(" (")
    name, _, after = rest.rpartition(") ")
    fields = after.split()
    # From the third field on: session is the sixth, the four times are the 14th to the 17th.
    return Process(int(number), name, int(fields[3]), sum(map(int, fields[11:15])) / _TICKS_A_SECOND)


def _resident(process_id: int) -> float:
    try:
        pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * _PAGE_BYTES / 1e6


def seconds_per_hash() -> float:
    """Return the processor time of the SHA-256 of a short text: a unit to compare figures of different machines."""
    texts = [f"visitor.{number}@example.com".encode() for number in range(20_000)]
    start = time.process_time()
    for text in texts:
        sha256(text).hexdigest()
    return (time.process_time() - start) / len(texts)
