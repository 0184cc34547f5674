"""Watch where beat or the upkeep worker do not: nobody else could tell that these are silent."""

import threading
import time
from collections.abc import Callable

from worker import logs, wiring
from worker.alerts.webhook import Webhook
from worker.ledger import heartbeats
from worker.ledger.engine import Ledger, is_ledger_away
from worker.management.outage import Outage
from worker.stages import watching

log = logs.of(__name__)

LOOK_SECONDS = 30.0
# The upkeep worker watches every half a minute; later than this nobody does.
OVERDUE_SECONDS = 90.0


def start() -> threading.Thread:
    """Watch in a thread of this process for as long as it lives."""
    thread = threading.Thread(target=_watch_for_ever, name="watchman", daemon=True)
    thread.start()
    return thread


def stand_in(
    ledger: Ledger,
    free_bytes: Callable[[], int],
    webhook: Webhook | None,
    clock: Callable[[], float] = time.time,
) -> bool:
    """Watch once, and tell, where nobody has watched for long; tell whether that was so."""
    now = clock()
    with ledger.read() as connection:
        last = heartbeats.last(connection).get(heartbeats.WATCH)
    if last is not None and 0 <= now - last < OVERDUE_SECONDS:
        return False
    watching.watch(ledger, free_bytes, now, to_webhook=webhook is not None)
    if webhook is not None:
        watching.tell(ledger, webhook, clock)
    return True


def _watch_for_ever() -> None:
    outage = Outage(wiring.webhook)
    while True:
        time.sleep(LOOK_SECONDS)
        try:
            _look(outage)
        except Exception as error:  # noqa: BLE001 - the thread must outlive all of it
            log.error("watchman_failed", error=logs.where(error))


def _look(outage: Outage, clock: Callable[[], float] = time.time) -> None:
    try:
        stand_in(wiring.ledger(), wiring.free_bytes, wiring.webhook())
    except Exception as error:
        outage.look(away=is_ledger_away(error), now=clock())
        raise
    outage.look(away=False, now=clock())
