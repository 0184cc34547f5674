"""Look at what may be wrong, and tell of each thing once when it begins and once when it is over."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from sqlalchemy import Connection

from worker import logs
from worker.alerts import rules, volume
from worker.alerts.course import step
from worker.alerts.rules import Seen
from worker.alerts.webhook import GIVE_UP_SECONDS, Webhook, wait_seconds
from worker.ledger import alerts, heartbeats
from worker.ledger.alerts import Alert, Change, Notice
from worker.ledger.engine import Ledger
from worker.ledger.tallies import SECONDS_AN_HOUR
from worker.stages import looking

log = logs.of(__name__)

# Above the webhook's deadline, so that no second process tells the same meanwhile.
LEASE_SECONDS = 60.0
MOST_NOTICES_A_RUN = 20
PULSE_SECONDS = 10.0


class Pulse:
    """Write down that a part is alive, no more often than every ten seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._written_at = float("-inf")

    def beat(self, ledger: Ledger, now: float) -> None:
        """Note that the part runs at this moment."""
        with self._lock:
            # A clock that stepped back is no reason for silence.
            if 0 <= now - self._written_at < PULSE_SECONDS:
                return
            self._written_at = now
        with ledger.write() as connection:
            heartbeats.note(connection, self._name, now)


def watch(ledger: Ledger, free_bytes: Callable[[], int], now: float, *, to_webhook: bool) -> list[Change]:
    """Look at everything but the events' volume, and note what there is to tell."""
    with ledger.snapshot() as connection:
        figures = looking.gather_figures(connection, free_bytes(), now)
    return _follow(ledger, tuple(rules.RULES), rules.look(figures), now, to_webhook=to_webhook)


def watch_volume(ledger: Ledger, now: float, *, to_webhook: bool) -> list[Change]:
    """Look for events that stopped coming; this reads more, and changes by the hour."""
    hour = int(now // SECONDS_AN_HOUR)
    with ledger.read() as connection:
        series = looking.gather_volumes(connection, hour)
    seen = volume.dropped(series, hour)
    return _follow(ledger, (rules.VOLUME_RULE,), seen, now, to_webhook=to_webhook)


def tell(ledger: Ledger, webhook: Webhook, clock: Callable[[], float]) -> int:
    """Tell the webhook what it was not told yet, in order; return how many notices it took."""
    for done in range(MOST_NOTICES_A_RUN):
        with ledger.write() as connection:
            notice = alerts.take_due(connection, clock(), LEASE_SECONDS)
        if notice is None:
            return done
        trouble = webhook.tell(notice.id, content(notice))
        with ledger.write() as connection:
            if trouble is None:
                alerts.told(connection, notice.id, clock())
                continue
            _put_off(connection, notice, trouble, clock())
        return done
    return MOST_NOTICES_A_RUN


def content(notice: Notice) -> dict[str, object]:
    """Return what the webhook is told; ``text`` is what chat services show."""
    what_to_do = rules.advice(notice.rule) if notice.change != Change.RESOLVED else ""
    head = f"[{notice.change}] {notice.rule}: {notice.summary}"
    return {
        "id": notice.id,
        "change": notice.change,
        "rule": notice.rule,
        "subject": notice.subject,
        "severity": notice.severity,
        "summary": notice.summary,
        "what_to_do": what_to_do,
        "at": notice.at,
        "text": f"{head} {what_to_do}".strip(),
    }


def say(one: Alert, change: Change) -> None:
    """Write a change into the log."""
    log.warning(
        "alert",
        rule=one.rule,
        subject=one.subject,
        change=str(change),
        severity=str(one.severity),
        summary=one.summary,
    )


def _put_off(connection: Connection, notice: Notice, trouble: str, now: float) -> None:
    attempts = notice.attempts + 1
    again_at = None if now - notice.at > GIVE_UP_SECONDS else now + wait_seconds(attempts)
    alerts.not_told(connection, notice, now, again_at=again_at)
    word = "given_up" if again_at is None else "put_off"
    log.error("alert_webhook", notice=notice.id, state=word, attempts=attempts, error=trouble)


def _follow(
    ledger: Ledger, names: Sequence[str], seen: Iterable[Seen], now: float, *, to_webhook: bool
) -> list[Change]:
    """Take every alert of some rules one look further, in one transaction."""
    by_key = {(one.rule, one.subject): one for one in seen}
    told: list[tuple[Alert, Change]] = []
    with ledger.write() as connection:
        if not alerts.alone(connection):
            # Another process looks at this moment, at the same.
            return []
        heartbeats.note(connection, heartbeats.WATCH, now)
        known = alerts.known(connection, names)
        for key in sorted(known.keys() | by_key.keys()):
            told += _move(connection, known.get(key), by_key.get(key), now)
        for one, change in told:
            alerts.announce(connection, one, change, now, to_webhook=to_webhook)
    for one, change in told:
        say(one, change)
    return [change for _, change in told]


def _move(
    connection: Connection, known: Alert | None, seen: Seen | None, now: float
) -> Iterator[tuple[Alert, Change]]:
    rule = known.rule if known else seen.rule if seen else ""
    then = step(known, seen, now, rules.wait_seconds(rule))
    if then.alert is not None:
        alerts.keep(connection, then.alert)
    elif known is not None:
        alerts.forget(connection, known.rule, known.subject)
    of = then.alert or known
    if then.change is not None and of is not None:
        yield of, then.change
