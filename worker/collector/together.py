"""Commit what several requests bring at the same moment in one transaction."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from worker.ledger import inbox
from worker.ledger.engine import Ledger, is_ledger_away
from worker.ledger.inbox import Accepted

Accept = Callable[[Sequence[Accepted], float], list[int]]

# A transaction of more would hold up whoever comes next.
MOST_EVENTS = 1_000


@dataclass(slots=True)
class _Request:
    events: Sequence[Accepted]
    now: float
    ids: list[int] = field(default_factory=list)
    error: BaseException | None = None
    done: bool = False


class Together:
    """Write the events of requests that wait for their turn all at once; each is told its own ids.

    A commit takes as long for one event as for five hundred: where requests are small and many, the threads would
    wait for one after the other on SQLite, and PostgreSQL would be asked eight times. Whoever has the turn writes
    for all that wait.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: deque[_Request] = deque()
        self._turn = threading.Lock()

    def accept(self, events: Sequence[Accepted], now: float) -> list[int]:
        """Return the ids of events once they are committed; what prevented that is raised."""
        request = _Request(events, now)
        self._waiting.append(request)
        with self._turn:
            while not request.done:
                self._write(self._next())
        if request.error is not None:
            raise request.error
        return request.ids

    def _next(self) -> list[_Request]:
        """Take those that wait the longest, at least one."""
        taken = [self._waiting.popleft()]
        size = len(taken[0].events)
        while self._waiting and size + len(self._waiting[0].events) <= MOST_EVENTS:
            taken.append(self._waiting.popleft())
            size += len(taken[-1].events)
        return taken

    def _write(self, requests: Sequence[_Request]) -> None:
        try:
            with self._ledger.write() as connection:
                every = [event for request in requests for event in request.events]
                ids = iter(inbox.accept(connection, every, requests[-1].now))
        except BaseException as error:  # noqa: BLE001 - each of them raises it in its own thread
            self._blame(requests, error)
            return
        for request in requests:
            request.ids, request.done = [next(ids) for _ in request.events], True

    def _blame(self, requests: Sequence[_Request], error: BaseException) -> None:
        if is_ledger_away(error):
            # Nor will it be there for those that have waited meanwhile: each of them waits once, not in turn.
            requests = [*requests, *(self._waiting.popleft() for _ in range(len(self._waiting)))]
        elif len(requests) > 1:
            # One of them is at fault, and must not cost the others.
            for request in requests:
                self._write([request])
            return
        for request in requests:
            request.error, request.done = error, True
