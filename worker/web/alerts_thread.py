"""Check the alert rules if beat or the upkeep worker do not: no other process would notice their silence."""

import threading
import time
from collections.abc import Callable, Sequence

from worker import logs, runtime
from worker.alerts import lifecycle
from worker.alerts.channels import Channel, WebhookChannel
from worker.alerts.lifecycle import next_step
from worker.alerts.rules import LEDGER_RULE, RuleProblem
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.reports import measures
from worker.ledger.upkeep.alerts import Alert, Change, Notice, Severity

log = logs.of(__name__)

# Longer than the restart of a database server.
_WAIT_SECONDS = 60.0
# Notices wait in memory while the webhook fails too.
_MAX_UNSENT_NOTICES = 10

_AWAY = RuleProblem(
    LEDGER_RULE,
    "ledger",
    Severity.CRITICAL,
    "The database does not answer, or takes no writes: no event is sent.",
)


class _Outage:
    """Alert about a database that does not answer, kept in this process's memory."""

    def __init__(
        self,
        webhook: Callable[[], WebhookChannel | None],
        channels: Callable[[], Sequence[Channel]] = lambda: (),
    ) -> None:
        self._webhook = webhook
        self._channels = channels
        self._alert: Alert | None = None
        self._unsent: list[Notice] = []

    def update(self, *, away: bool, now: float) -> Change | None:
        """Record whether the database is away, and send the notices that wait."""
        then = next_step(self._alert, _AWAY if away else None, now, _WAIT_SECONDS)
        alert = then.alert or self._alert
        self._alert = then.alert
        if then.change is not None and alert is not None:
            lifecycle.log_change(alert, then.change)
            notice = _notice(alert, then.change, now)
            self._unsent = [*self._unsent, notice][-_MAX_UNSENT_NOTICES:]
            for channel in self._channels():
                trouble = channel.send(notice.id, lifecycle.notice_content(notice))
                if trouble is not None:
                    log.error("alert_channel", channel=channel.name, notice=notice.id, error=trouble)
        self._send()
        return then.change

    def _send(self) -> None:
        webhook = self._webhook()
        while webhook is not None and self._unsent:
            first = self._unsent[0]
            if webhook.send(first.id, lifecycle.notice_content(first)) is not None:
                # The next check tries again.
                return
            self._unsent = self._unsent[1:]


def _notice(alert: Alert, change: Change, now: float) -> Notice:
    return Notice(
        # The ledger's own ids count up from 1 and stay below.
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


_LOOK_SECONDS = 30.0
# The upkeep worker checks every 30 seconds; after this long it counts as silent.
_OVERDUE_SECONDS = 90.0


def start_alerts_thread() -> threading.Thread:
    """Check in a background thread until the process ends."""
    thread = threading.Thread(target=_watch_for_ever, name="alerts", daemon=True)
    thread.start()
    return thread


def _watch_if_overdue(
    ledger: Ledger,
    free_bytes: Callable[[], int],
    webhook: WebhookChannel | None,
    clock: Callable[[], float] | None = None,
    channels: Sequence[Channel] = (),
) -> bool:
    """Check the rules and send notices if the last check is overdue; return whether it was."""
    clock = clock or ledger.now
    now = clock()
    with ledger.read() as connection:
        last = measures.last_heartbeats(connection).get(measures.WATCH)
    if last is not None and 0 <= now - last < _OVERDUE_SECONDS:
        return False
    lifecycle.check_figures(ledger, free_bytes, now, to_webhook=webhook is not None)
    if webhook is not None:
        lifecycle.send_notices(ledger, webhook, clock)
    for channel in channels:
        lifecycle.send_to_channel(ledger, channel, clock)
    return True


def _watch_for_ever() -> None:
    outage = _Outage(runtime.webhook, runtime.alert_channels)
    while True:
        time.sleep(_LOOK_SECONDS)
        try:
            _look(outage)
        except Exception as error:  # noqa: BLE001 - the thread must survive every error
            log.error("watchman_failed", error=logs.error_location(error))


def _look(outage: _Outage) -> None:
    clock = runtime.ledger().now
    try:
        # Reading works on a database that takes no writes.
        runtime.ledger().ping()
        _watch_if_overdue(
            runtime.ledger(), runtime.free_bytes, runtime.webhook(), clock, runtime.alert_channels()
        )
    except Exception as error:
        outage.update(away=is_ledger_unavailable(error), now=clock())
        raise
    outage.update(away=False, now=clock())
