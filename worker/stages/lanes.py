"""Keep one credential, or many that only wait, from taking all slots of a delivery process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# A new credential has shown nothing yet; each prompt answer makes its lane wider. The widest holds 100 requests/s
# at answers after 200 ms.
FIRST_WIDTH, WIDEST = 2, 32
# So many places each lane may have for itself; for those beyond it all lanes of a process share a few.
OWN_PLACES, SHARED_PLACES = 8, 24
# A slot that is held for longer than this is missed by the others.
SLOW_SECONDS = 5.0
# So many slots may wait for their ad account's rate at once.
CHAIRS = 8
# Without a chair a slot waits no longer than this: bringing a batch back would take more.
MOMENT_SECONDS = 0.1


@dataclass(slots=True)
class _Lane:
    width: int = FIRST_WIDTH
    flying: int = 0
    # Batches that found the lane full, in their order; a dict, so that none waits twice.
    waiting: dict[int, None] = field(default_factory=dict)


class Lanes:
    """Bound how many batches of one credential this process sends at once.

    An account that gets no answers holds each slot until the deadline: with all its batches sent at once, two
    such accounts stop everybody else for half a minute. So a lane is narrow until answers come promptly, and
    only a few may be wide at once: two that fall silent hold 40 of the usual 56 slots. What waits here are only
    numbers: the ledger has the batches, and the sweeper names again what gets lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lanes: dict[int, _Lane] = {}
        self._shared_places = SHARED_PLACES

    def enter(self, credential_id: int, batch_id: int) -> bool:
        """Take a place in a lane, or leave the batch's number for whoever leaves the lane next."""
        with self._lock:
            lane = self._lanes.setdefault(credential_id, _Lane())
            if self._room(lane) <= 0:
                lane.waiting[batch_id] = None
                return False
            lane.flying += 1
            if lane.flying > OWN_PLACES:
                self._shared_places -= 1
            return True

    def leave(self, credential_id: int, seconds: float) -> list[int]:
        """Give a place back after so many seconds; return the batches for which there is room now."""
        with self._lock:
            lane = self._lanes[credential_id]
            if lane.flying > OWN_PLACES:
                self._shared_places += 1
            lane.flying -= 1
            lane.width = 1 if seconds > SLOW_SECONDS else min(lane.width + 1, WIDEST)
            following = list(lane.waiting)[: max(0, self._room(lane))]
            for batch_id in following:
                del lane.waiting[batch_id]
            return following

    def _room(self, lane: _Lane) -> int:
        free = lane.width - lane.flying
        return min(free, max(0, OWN_PLACES - lane.flying) + self._shared_places)


class Chairs:
    """Bound how many slots wait at once; who finds no chair has its batch come back later instead."""

    def __init__(self, chairs: int = CHAIRS) -> None:
        self._free = threading.BoundedSemaphore(chairs)

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Hold a chair, if there is one, and say whether there was."""
        got = self._free.acquire(blocking=False)
        try:
            yield got
        finally:
            if got:
                self._free.release()
