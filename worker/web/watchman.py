"""Watch where beat or the upkeep worker do not: nobody else could tell that these are silent."""

import threading
import time
from collections.abc import Callable

from worker import logs, runtime
from worker.alerts import watching
from worker.alerts.lifecycle import next_step
from worker.alerts.rules import LEDGER_RULE, Problem
from worker.alerts.webhook import Webhook
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.reports import measures
from worker.ledger.upkeep.alerts import Alert, Change, Notice, Severity

# A server that restarts is back by then.
WAIT_SECONDS = 60.0
# What there is to tell waits here, in memory, while the webhook is away as well.
MAX_UNSENT_NOTICES = 10

_AWAY = Problem(
    LEDGER_RULE, "ledger", Severity.CRITICAL, "The database does not answer: nothing is taken or sent."
)


class Outage:
    """Follow whether the ledger answers, in this process alone; a restart forgets it."""

    def __init__(self, webhook: Callable[[], Webhook | None]) -> None:
        self._webhook = webhook
        self._alert: Alert | None = None
        self._untold: list[Notice] = []

    def look(self, *, away: bool, now: float) -> Change | None:
        """Take one look further, and tell what there is to tell."""
        then = next_step(self._alert, _AWAY if away else None, now, WAIT_SECONDS)
        known = then.alert or self._alert
        self._alert = then.alert
        if then.change is not None and known is not None:
            watching.log_change(known, then.change)
            self._untold = [*self._untold, _notice(known, then.change, now)][-MAX_UNSENT_NOTICES:]
        self._tell()
        return then.change

    def _tell(self) -> None:
        webhook = self._webhook()
        while webhook is not None and self._untold:
            first = self._untold[0]
            if webhook.send(first.id, watching.notice_content(first)) is not None:
                # It is tried again at the next look.
                return
            self._untold = self._untold[1:]


def _notice(alert: Alert, change: Change, now: float) -> Notice:
    return Notice(
        # The ledger's own count up from 1 and never get there.
        id=int(now * 1000),
        at=now,
        change=change.value,
        rule=alert.rule,
        subject=alert.subject,
        severity=alert.severity.value,
        summary=alert.summary,
        attempts=0,
        told_at=None,
        given_up_at=None,
    )


log = logs.of(__name__)

LOOK_SECONDS = 30.0
# The upkeep worker watches every half a minute; later than this nobody does.
OVERDUE_SECONDS = 90.0


def start_watchman() -> threading.Thread:
    """Watch in a thread of this process for as long as it lives."""
    thread = threading.Thread(target=_watch_for_ever, name="watchman", daemon=True)
    thread.start()
    return thread


def watch_if_overdue(
    ledger: Ledger,
    free_bytes: Callable[[], int],
    webhook: Webhook | None,
    clock: Callable[[], float] = time.time,
) -> bool:
    """Watch once, and tell, where nobody has watched for long; tell whether that was so."""
    now = clock()
    with ledger.read() as connection:
        last = measures.last_heartbeats(connection).get(measures.WATCH)
    if last is not None and 0 <= now - last < OVERDUE_SECONDS:
        return False
    watching.check_figures(ledger, free_bytes, now, to_webhook=webhook is not None)
    if webhook is not None:
        watching.send_notices(ledger, webhook, clock)
    return True


def _watch_for_ever() -> None:
    outage = Outage(runtime.webhook)
    while True:
        time.sleep(LOOK_SECONDS)
        try:
            _look(outage)
        except Exception as error:  # noqa: BLE001 - the thread must outlive all of it
            log.error("watchman_failed", error=logs.error_location(error))


def _look(outage: Outage, clock: Callable[[], float] = time.time) -> None:
    try:
        watch_if_overdue(runtime.ledger(), runtime.free_bytes, runtime.webhook())
    except Exception as error:
        outage.look(away=is_ledger_unavailable(error), now=clock())
        raise
    outage.look(away=False, now=clock())
