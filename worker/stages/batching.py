"""Group pending events into batches."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.ledger import claims, inbox
from worker.ledger.claims import Group
from worker.ledger.engine import Ledger

# Batches of one credential that may be ready or sending at once: enough for 100 requests/s at 200 ms answers,
# together with as many that wait for the next tick to replace them.
WINDOW_BATCHES = 48


@dataclass(frozen=True, slots=True)
class Pace:
    """Hold when a group may be claimed, and how many batches one tick may make."""

    interval_seconds: float
    window: int = WINDOW_BATCHES
    most_batches: int = 200


def group_pending(
    ledger: Ledger, pace: Pace, now: Callable[[], float], hint: Callable[[Sequence[int]], None]
) -> list[int]:
    """Claim what is full or has waited long enough; each batch is hinted at once it is committed.

    A tick that runs twice, or beside another one, finds the events claimed and does nothing.
    """
    with ledger.read() as connection:
        waiting = deque(claims.groups(connection, now()))
    made: list[int] = []
    # In turn, a batch each: a group with a backlog is not served to its end while the others wait.
    while waiting and len(made) < pace.most_batches:
        group, oldest = waiting.popleft()
        if not _may_claim(ledger, group, oldest, pace, now()):
            continue
        with ledger.write() as connection:
            batch_id = claims.claim(connection, group, pace.window, now())
        if batch_id is None:
            continue
        hint([batch_id])
        made.append(batch_id)
        following = _oldest_of(ledger, group)
        if following is not None:
            waiting.append((group, following))
    return made


def _may_claim(ledger: Ledger, group: Group, oldest: float, pace: Pace, now: float) -> bool:
    """Tell whether a group is full, or old without a batch in the last interval.

    Behind a backlog everything that arrives is old already: without the second half each tick would take the few
    events that came since the one before. It makes an event wait two intervals at the most.
    """
    earliest, latest = now - pace.interval_seconds, now + inbox.CLOCK_STEP_SECONDS
    with ledger.read() as connection:
        # What was accepted in the future was accepted before the clock stepped back.
        is_old = not earliest < oldest <= latest
        if is_old and not claims.was_claimed_between(connection, group, earliest, latest):
            return True
        return claims.is_full(connection, group)


def _oldest_of(ledger: Ledger, group: Group) -> float | None:
    with ledger.read() as connection:
        return claims.oldest(connection, group)
