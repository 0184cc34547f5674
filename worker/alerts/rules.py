"""The alert rules: find problems in the figures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from worker.alerts.rule_figures import (
    BACKLOG_SHARE,
    COMPARED_DAYS,
    MAX_COUNTED_FAILURES,
    MAX_COUNTED_WAITING,
    AccountFigures,
    Figures,
    SourceFigures,
    TokenFigures,
)
from worker.formats import count_text, format_duration
from worker.ledger.reports.measures import KEY_MISSING
from worker.ledger.setup.ad_accounts import MANUAL
from worker.ledger.upkeep.alerts import Severity
from worker.pinterest.client.answer_decisions import REFUSALS, ReasonClass

_HOUR, _DAY = 3_600.0, 86_400.0
# Pinterest refuses older events.
_STALE_SECONDS = 7 * _DAY
_STATUSES = ("NEEDS_IMPROVEMENT", "FAIR", "GOOD")


@dataclass(frozen=True, slots=True)
class RuleProblem:
    """Hold a problem, identified by rule and subject."""

    rule: str
    subject: str
    severity: Severity
    summary: str


@dataclass(frozen=True, slots=True)
class _Thresholds:
    """Hold the limits beyond which the rules report a problem."""

    pending_seconds: float = 900.0
    still_seconds: float = 120.0
    inbox_seconds: float = 300.0
    unread_messages: int = 1_000
    silent_seconds: float = 120.0
    key_seconds: float = 300.0
    stale_warning_hours: float = 72.0
    stale_critical_hours: float = 24.0
    expiry_warning_seconds: float = 14 * _DAY
    expiry_critical_seconds: float = 3 * _DAY
    backlog_share: float = BACKLOG_SHARE
    least_free_bytes: int = 1024**3


@dataclass(frozen=True, slots=True)
class _Rule:
    """Hold a rule; a problem must last ``delay_seconds`` before its alert fires."""

    delay_seconds: float
    advice: str
    find_problems: Callable[[Figures, _Thresholds], Iterator[RuleProblem]]


def find_problems(figures: Figures) -> list[RuleProblem]:
    """Return the problems of all rules."""
    limits = _Thresholds()
    return [problem for rule in RULES.values() for problem in rule.find_problems(figures, limits)]


def advice(rule: str) -> str:
    """Return what to do about a rule's alerts; empty for an unknown rule."""
    return _ADVICE.get(rule, "")


def page_path(rule: str, subject: str) -> str:
    """Return the path of the page that shows an alert's problem: by default the overview, which lists all alerts."""
    return _PAGES.get(rule, "/").format(subject=quote(subject.partition(":")[0], safe=""))


def alert_delay_seconds(rule: str) -> float:
    """Return how long a problem must last before its alert fires."""
    return RULES[rule].delay_seconds if rule in RULES else 0.0


def _exhausted(figures: Figures, _limits: _Thresholds) -> Iterator[RuleProblem]:
    for account in figures.accounts:
        if account.exhausted:
            events = count_text(account.exhausted, "delivery", "deliveries", cap=MAX_COUNTED_FAILURES)
            need = "needs" if account.exhausted == 1 else "need"
            failed = f"{events} to ad account {account.ad_account_id} failed after every retry"
            summary = f"{failed} and {need} manual action."
            yield RuleProblem("retries_exhausted", account.ad_account_id, Severity.WARNING, summary)


def _contradicted(figures: Figures, _limits: _Thresholds) -> Iterator[RuleProblem]:
    for account in figures.accounts:
        if account.contradicted:
            events = count_text(
                account.contradicted,
                "signed event of the last two hours has the id of an earlier public event",
                "signed events of the last two hours have the ids of earlier public events",
            )
            summary = (
                f"Ad account {account.ad_account_id}: {events} with another order id, value or currency."
            )
            yield RuleProblem("event_ids_used_before", account.ad_account_id, Severity.WARNING, summary)


def _pending(figures: Figures, limits: _Thresholds) -> Iterator[RuleProblem]:
    for account in figures.accounts:
        # An open breaker and a paused account have alerts of their own.
        if (
            account.waiting_since is None
            or account.paused_class is not None
            or account.breaker_open_until is not None
        ):
            continue
        age = figures.now - account.waiting_since
        if age > limits.pending_seconds:
            summary = (
                f"The oldest of {count_text(account.waiting, 'event', cap=MAX_COUNTED_WAITING)} for ad account "
                f"{account.ad_account_id} was accepted {format_duration(age)} ago."
            )
            yield RuleProblem("oldest_pending", account.ad_account_id, Severity.WARNING, summary)


def _stands_still(figures: Figures, limits: _Thresholds) -> Iterator[RuleProblem]:
    for account in figures.accounts:
        is_held = account.paused_class is not None or account.breaker_open_until is not None
        if is_held or account.due_since is None:
            continue
        still = figures.now - max(account.due_since, account.last_request_at)
        if still > limits.still_seconds:
            summary = (
                f"Ad account {account.ad_account_id} has sent nothing for {format_duration(still)}, "
                "although events wait and sending is not paused."
            )
            yield RuleProblem("account_stands_still", account.ad_account_id, Severity.CRITICAL, summary)


def _skewed(figures: Figures, _limits: _Thresholds) -> Iterator[RuleProblem]:
    for host, skew in sorted(figures.skews.items()):
        side = "ahead of" if skew > 0 else "behind"
        summary = f"The clock of host {host} is {abs(skew):.1f} seconds {side} the database's."
        yield RuleProblem("clock_differs", host, Severity.WARNING, summary)


def _going_stale(figures: Figures, limits: _Thresholds) -> Iterator[RuleProblem]:
    for account in figures.accounts:
        hours = _hours_until_stale(account, figures.now)
        if hours is None or account.oldest_event_at is None or figures.now - account.oldest_event_at < _HOUR:
            continue
        hours_to_drain = _hours_until_drained(account)
        if hours > limits.stale_warning_hours and hours_to_drain <= hours:
            continue
        severity = Severity.CRITICAL if hours <= limits.stale_critical_hours else Severity.WARNING
        yield RuleProblem(
            "backlog_going_stale", account.ad_account_id, severity, _staleness_words(account, hours)
        )


def _staleness_words(account: AccountFigures, hours: float) -> str:
    text = f"will be too old for Pinterest in {count_text(round(hours), 'hour')}"
    when = text if hours > 0 else "is too old for Pinterest"
    n = account.delivered_an_hour
    pace = count_text(n, "an hour is delivered", "an hour are delivered") if n else "none is delivered"
    return (
        f"The oldest waiting event of ad account {account.ad_account_id} {when}: "
        f"{_waiting_text(account)}, and {pace}."
    )


def _waiting_text(account: AccountFigures) -> str:
    return count_text(account.waiting, "event waits", "events wait", cap=MAX_COUNTED_WAITING)


def _hours_until_stale(account: AccountFigures, now: float) -> float | None:
    """Return in how many hours Pinterest will refuse the oldest waiting event; None without waiting events."""
    if account.oldest_event_at is None:
        return None
    return max(0.0, (account.oldest_event_at + _STALE_SECONDS - now) / _HOUR)


def _hours_until_drained(account: AccountFigures) -> float:
    """Return how many hours the backlog takes at the current rate; infinite if it does not shrink or is too large."""
    if not account.delivered_an_hour or account.waiting >= MAX_COUNTED_WAITING:
        return float("inf")
    return account.waiting / account.delivered_an_hour


def _breaker(figures: Figures, _limits: _Thresholds) -> Iterator[RuleProblem]:
    for account in figures.accounts:
        if account.breaker_open_until is not None and account.paused_class is None:
            summary = (
                f"Pinterest does not take events for ad account {account.ad_account_id}: "
                f"{_waiting_text(account)}, and single batches test the connection."
            )
            yield RuleProblem("breaker_open", account.ad_account_id, Severity.WARNING, summary)


def _refused(figures: Figures, _limits: _Thresholds) -> Iterator[RuleProblem]:
    for account in figures.accounts:
        if account.paused_class in REFUSALS:
            text = f"{account.ad_account_id} ({account.paused_class})"
            begin = (
                "Cannot send to" if account.paused_class == ReasonClass.NOT_SENDABLE else "Pinterest refuses"
            )
            summary = f"{begin} ad account {text}: {account.paused_reason}"
            yield RuleProblem("token_refused", account.ad_account_id, Severity.CRITICAL, summary)


def _paused(figures: Figures, _limits: _Thresholds) -> Iterator[RuleProblem]:
    for account in figures.accounts:
        if account.paused_class not in (None, MANUAL, *REFUSALS):
            paused = f"{account.ad_account_id} is paused ({account.paused_class})"
            summary = f"Ad account {paused}: {account.paused_reason}"
            yield RuleProblem("account_paused", account.ad_account_id, Severity.CRITICAL, summary)


def _expiring(figures: Figures, limits: _Thresholds) -> Iterator[RuleProblem]:
    for token in figures.tokens:
        left = token.expires_at - figures.now
        if left <= limits.expiry_warning_seconds:
            yield RuleProblem(
                "token_expiring", token.integration_id, _urgency(left, limits), _expiry_words(token, left)
            )


def _urgency(left: float, limits: _Thresholds) -> Severity:
    return Severity.CRITICAL if left <= limits.expiry_critical_seconds else Severity.WARNING


def _expiry_words(token: TokenFigures, left: float) -> str:
    when = f"expires in {format_duration(left)}" if left > 0 else f"expired {format_duration(-left)} ago"
    return f"The access token of {token.integration_id} (ad account {token.ad_account_id}) {when}."


def _silent(name: str, rule: str, summary: str) -> Callable[[Figures, _Thresholds], Iterator[RuleProblem]]:
    def find(figures: Figures, limits: _Thresholds) -> Iterator[RuleProblem]:
        last = figures.pulses.get(name)
        if last is None:
            yield RuleProblem(rule, name, Severity.CRITICAL, f"{summary} has never run.")
        elif figures.now - last > limits.silent_seconds:
            yield RuleProblem(
                rule,
                name,
                Severity.CRITICAL,
                f"{summary} last ran {format_duration(figures.now - last)} ago.",
            )

    return find


def _inbox_waiting(figures: Figures, limits: _Thresholds) -> Iterator[RuleProblem]:
    since = figures.inbox_since
    if since is not None and figures.now - since > limits.inbox_seconds:
        summary = (
            f"The oldest accepted event has waited {format_duration(figures.now - since)} to be processed."
        )
        yield RuleProblem("inbox_waiting", "inbox", Severity.WARNING, summary)


def _unread_queue(figures: Figures, limits: _Thresholds) -> Iterator[RuleProblem]:
    for queue, messages in figures.queues.items():
        if messages > figures.waiting + limits.unread_messages:
            wait = count_text(figures.waiting, "event waits", "events wait")
            summary = f"The queue {queue} has {count_text(messages, 'message')}, but only {wait}."
            yield RuleProblem("queue_unread", queue, Severity.WARNING, summary)


def _inbox_full(figures: Figures, limits: _Thresholds) -> Iterator[RuleProblem]:
    near = [source for source in figures.full_sources if source.events >= limits.backlog_share * source.limit]
    fullest: dict[str, SourceFigures] = {}
    for source in sorted(near, key=lambda source: source.events / source.limit):
        fullest[source.source_id] = source
    # One alert per source, about its fuller limit.
    for source in fullest.values():
        yield RuleProblem("inbox_near_bound", source.source_id, _fullness(source), _fullness_words(source))


def _fullness(source: SourceFigures) -> Severity:
    return Severity.CRITICAL if source.events >= source.limit else Severity.WARNING


def _fullness_words(source: SourceFigures) -> str:
    then = "" if source.events >= source.limit else "beyond that "
    return (
        f"{source.events:,} of at most {source.limit:,} {source.trust} events of {source.source_id} "
        "wait in the inbox: "
        f"{then}the collector refuses more."
    )


def _parked(figures: Figures, _limits: _Thresholds) -> Iterator[RuleProblem]:
    if figures.parked:
        summary = count_text(
            figures.parked,
            "accepted event could not be processed and was set aside.",
            "accepted events could not be processed and were set aside.",
        )
        yield RuleProblem("events_parked", "inbox", Severity.WARNING, summary)


def _key_missing(figures: Figures, limits: _Thresholds) -> Iterator[RuleProblem]:
    last = figures.pulses.get(KEY_MISSING)
    if last is not None and figures.now - last < limits.key_seconds:
        summary = (
            "A process lacks a key of ENCRYPTION_KEY that the ledger needs. Its work waits; nothing is lost."
        )
        yield RuleProblem("key_missing", "keys", Severity.CRITICAL, summary)


def _disk(figures: Figures, limits: _Thresholds) -> Iterator[RuleProblem]:
    if figures.free_bytes is not None and figures.free_bytes < limits.least_free_bytes:
        summary = f"The disk of the state folder has {figures.free_bytes / 1024**2:,.0f} MB left."
        yield RuleProblem("disk_nearly_full", "disk", Severity.CRITICAL, summary)


def _sign_in(figures: Figures, _limits: _Thresholds) -> Iterator[RuleProblem]:
    for ad_account_id, reason in figures.sign_ins.items():
        summary = (
            f"The sign-in with Pinterest for ad account {ad_account_id} cannot be refreshed: {reason} "
            "Events are still sent."
        )
        yield RuleProblem("sign_in_failing", ad_account_id, Severity.WARNING, summary)


def _score_fell(figures: Figures, _limits: _Thresholds) -> Iterator[RuleProblem]:
    for (ad_account_id, platform, source), by_day in figures.statuses.items():
        ranks = {day: _STATUSES.index(status) for day, status in by_day.items() if status in _STATUSES}
        if ranks and max(ranks.values()) > ranks[max(ranks)]:
            before, now = _STATUSES[max(ranks.values())], _STATUSES[ranks[max(ranks)]]
            summary = (
                f"Pinterest's Event Quality Score of ad account {ad_account_id} for {source} on {platform} "
                f"fell from {before} to {now} within {COMPARED_DAYS} days."
            )
            yield RuleProblem(
                "quality_score_fell", f"{ad_account_id}:{platform}:{source}", Severity.WARNING, summary
            )


# Of a subject with several parts, like a source and an event name, the first is meant.
_ACCOUNT_PAGE, _SOURCE_PAGE = "/#account-{subject}", "/sources/{subject}"
_PAGES = {
    **dict.fromkeys(("oldest_pending", "account_stands_still", "backlog_going_stale"), _ACCOUNT_PAGE),
    **dict.fromkeys(("breaker_open", "token_refused", "account_paused", "sign_in_failing"), _ACCOUNT_PAGE),
    **dict.fromkeys(("inbox_near_bound", "source_silent"), _SOURCE_PAGE),
    **dict.fromkeys(("token_expiring", "volume_dropped"), "/integrations/{subject}"),
    **dict.fromkeys(("failure_rate", "new_failure_reason"), "/failed"),
    **dict.fromkeys(("filtered_rate", "success_rate"), "/events?source_id={subject}"),
    "retries_exhausted": "/failed?ad_account_id={subject}",
    "event_ids_used_before": "/events",
    "quality_score_fell": "/quality",
    "data_quality": "/data-quality?source_id={subject}",
    "order_accuracy": "/orders?source_id={subject}",
}

# Beat and the workers also fall silent when the broker is away; then a restart does not help.
_BROKER_FIRST = (
    "Run `doctor`: if the broker does not answer, start it, and the processes continue. "
    "If it answers, restart beat and the upkeep worker"
)

RULES = {
    "retries_exhausted": _Rule(
        0.0,
        "See why with `failed list`; once Pinterest works again, send them with `failed retry --all`.",
        _exhausted,
    ),
    "event_ids_used_before": _Rule(
        0.0,
        "Find out who sends the public events: every page contains the pipeline key. If your server sends the event, "
        "list it in the source's signed_only_events. Use event ids that cannot be guessed.",
        _contradicted,
    ),
    "oldest_pending": _Rule(
        60.0,
        "See in Flower whether the delivery worker runs and keeps up; start another one, or raise the account's rate.",
        _pending,
    ),
    "account_stands_still": _Rule(
        60.0,
        "See in Flower whether the delivery worker runs; restart one that does not answer. Its batches are released "
        "after a minute.",
        _stands_still,
    ),
    "clock_differs": _Rule(
        60.0,
        "Run an NTP client on that host: signatures and the times of its events depend on its clock.",
        _skewed,
    ),
    "backlog_going_stale": _Rule(
        300.0,
        "Within these hours, fix the cause of the delay: Pinterest refuses events older than seven days.",
        _going_stale,
    ),
    "breaker_open": _Rule(
        300.0,
        "Check Pinterest's status page and this machine's network; nothing is lost, and sending resumes by itself.",
        _breaker,
    ),
    "token_refused": _Rule(
        0.0,
        "Create an access token in Ads Manager and enter it in the integration: sending resumes by itself.",
        _refused,
    ),
    "account_paused": _Rule(
        0.0,
        "Read Pinterest's answer on the integration's page. Resume sending there once the cause is fixed.",
        _paused,
    ),
    "token_expiring": _Rule(
        0.0,
        "Create an access token in Ads Manager and enter it in the integration, with its expiry.",
        _expiring,
    ),
    # A service that has just started needs time for its first run.
    "batcher_silent": _Rule(
        60.0,
        f"{_BROKER_FIRST}: no events are sent until then, and nothing is lost.",
        _silent("batcher", "batcher_silent", "The batcher"),
    ),
    "sweeper_silent": _Rule(
        60.0,
        f"{_BROKER_FIRST}: the work of stopped workers waits until then, and nothing is lost.",
        _silent("sweeper", "sweeper_silent", "The sweeper"),
    ),
    "inbox_waiting": _Rule(
        60.0,
        "See in Flower whether the ingest worker runs and keeps up; start another one.",
        _inbox_waiting,
    ),
    # Workers read messages of events that were processed meanwhile, and the sweeper repeats some.
    "queue_unread": _Rule(
        300.0,
        "Start an ingest process that takes this queue (INGEST_QUEUES), and give every process the same EVENT_QUEUES.",
        _unread_queue,
    ),
    "inbox_near_bound": _Rule(
        0.0,
        "Start more ingest workers, or raise the source's backlog_limit or public_backlog_limit if the disk has space.",
        _inbox_full,
    ),
    "events_parked": _Rule(
        0.0,
        "Read the reasons on the page Failed deliveries or with `failed parked`. Fix them, then process the events "
        "again there or with `failed unpark`.",
        _parked,
    ),
    "key_missing": _Rule(
        0.0,
        "Restart every process with the same ENCRYPTION_KEY; while rotating, with both keys: new,old.",
        _key_missing,
    ),
    "sign_in_failing": _Rule(
        # Failures of the network pass; tries are 15 minutes apart.
        3_600.0,
        "Open the integration and choose “Connect again”: settings and events remain. A token that expires or was "
        "refused is replaced.",
        _sign_in,
    ),
    "quality_score_fell": _Rule(
        0.0,
        "Open Match quality: it shows Pinterest's issues and what to change.",
        _score_fell,
    ),
    "disk_nearly_full": _Rule(
        60.0,
        "Free disk space: below 512 MB the collector refuses public events with 503, and below 256 MB all events, "
        "so that the ledger can still be written.",
        _disk,
    ),
}

VOLUME_RULE = "volume_dropped"
_VOLUME_ADVICE = (
    "Check whether the shop still sends the event: a change of its pages may have removed the call."
)
DATA_RULE = "data_quality"
_DATA_ADVICE = "Open the source's page on data quality: it shows the newest example and what to do."
# Checked by `worker.alerts.source_rules`, with the thresholds of each source.
SOURCE_RULES = {
    "failure_rate": "Open Failed deliveries: it groups them by reason. Fix the reason, then send them again.",
    "success_rate": "Open the live debugger: it shows the result of each event.",
    "filtered_rate": "Check whether the consent tool still works in the pages and whether crawlers visit the shop, "
    "or change the source's rule.",
    "order_accuracy": "Open Orders: it lists each order that is missing, with its reason.",
    "source_silent": "Check whether the shop still sends events: open a page, and look for the event in the live "
    "debugger.",
    "new_failure_reason": "Open Failed deliveries and read the reason. A change of the shop or of Pinterest may have "
    "caused it.",
}
LEDGER_RULE = "ledger_away"
_LEDGER_ADVICE = (
    "Restore the database. Until then the collector keeps events in its spool; "
    "with SQLite, or when the spool is full, it answers 503."
)
_ADVICE = {name: rule.advice for name, rule in RULES.items()} | {
    VOLUME_RULE: _VOLUME_ADVICE,
    DATA_RULE: _DATA_ADVICE,
    **SOURCE_RULES,
    LEDGER_RULE: _LEDGER_ADVICE,
}
