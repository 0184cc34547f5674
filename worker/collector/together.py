"""Commit what several requests bring at the same moment in one transaction."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from worker.ledger import inbox, replays
from worker.ledger.engine import Ledger, is_ledger_away
from worker.ledger.inbox import Accepted
from worker.ledger.replays import SignedRequest

Accept = Callable[[Sequence[Accepted], float, SignedRequest | None], list[int]]

# A transaction of more would hold up whoever comes next.
MAX_COMMIT_EVENTS = 1_000


@dataclass(slots=True)
class _Request:
    events: Sequence[Accepted]
    now: float
    signed: SignedRequest | None = None
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

    def accept(
        self, events: Sequence[Accepted], now: float, signed: SignedRequest | None = None
    ) -> list[int]:
        """Return the ids of the events after their commit; errors of the ledger are raised.

        A signed request that was accepted before stores nothing and returns no ids. The signature is stored in
        the transaction of its events: after an error the same request is accepted when it is repeated.
        """
        request = _Request(events, now, signed)
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
        while self._waiting and size + len(self._waiting[0].events) <= MAX_COMMIT_EVENTS:
            taken.append(self._waiting.popleft())
            size += len(taken[-1].events)
        return taken

    def _write(self, requests: Sequence[_Request]) -> None:
        try:
            with self._ledger.write() as connection:
                new = _without_repeats(connection, requests)
                every = [event for request in new for event in request.events]
                ids = iter(inbox.accept(connection, every, requests[-1].now))
        except BaseException as error:  # noqa: BLE001 - each of them raises it in its own thread
            self._blame(requests, error)
            return
        for request in new:
            request.ids = [next(ids) for _ in request.events]
        for request in requests:
            request.done = True

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


def _without_repeats(connection: Connection, requests: Sequence[_Request]) -> list[_Request]:
    """Return the requests without those whose signature was accepted before, also in this transaction."""
    signed = [request.signed for request in requests if request.signed is not None]
    fresh = replays.remember(connection, signed)
    new: list[_Request] = []
    for request in requests:
        if request.signed is not None:
            if request.signed.key not in fresh:
                continue
            fresh.remove(request.signed.key)
        new.append(request)
    return new
