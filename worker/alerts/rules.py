"""Say what is wrong, from one look at the figures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from worker.alerts.figures import (
    MAX_COUNTED_FAILURES,
    MAX_COUNTED_WAITING,
    AccountFigures,
    Figures,
    SourceFigures,
    TokenFigures,
)
from worker.formats import capped_count, format_duration
from worker.ledger.upkeep.alerts import Severity

_HOUR, _DAY = 3_600.0, 86_400.0
# Pinterest refuses what happened longer ago.
_STALE_SECONDS = 7 * _DAY
# Refusals that only a person can mend, with a new token or with another ad account.
REFUSED_CLASSES = ("unauthorized", "forbidden", "no_such_account", "not_sendable")


@dataclass(frozen=True, slots=True)
class Problem:
    """Hold one thing that is wrong; rule and subject name it for as long as it lasts."""

    rule: str
    subject: str
    severity: Severity
    summary: str


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Hold from when on something is wrong."""

    pending_seconds: float = 900.0
    inbox_seconds: float = 300.0
    silent_seconds: float = 120.0
    stale_warning_hours: float = 72.0
    stale_critical_hours: float = 24.0
    expiry_warning_seconds: float = 14 * _DAY
    expiry_critical_seconds: float = 3 * _DAY
    backlog_share: float = 0.8
    least_free_bytes: int = 1024**3


@dataclass(frozen=True, slots=True)
class Rule:
    """Hold how long a thing must last before it is told, what to do about it, and how it is seen.

    ``wait_seconds`` spares whoever is on call what mends itself.
    """

    delay_seconds: float
    advice: str
    find_problems: Callable[[Figures, Thresholds], Iterator[Problem]]


def find_problems(figures: Figures, policy: Thresholds | None = None) -> list[Problem]:
    """Return everything that is wrong."""
    chosen = policy or Thresholds()
    return [seen for rule in RULES.values() for seen in rule.find_problems(figures, chosen)]


def advice(rule: str) -> str:
    """Return what to do about a rule's alerts; nothing for a rule that a later version made."""
    return ADVICE.get(rule, "")


def alert_delay_seconds(rule: str) -> float:
    """Return how long a thing must last before it is told."""
    return RULES[rule].delay_seconds if rule in RULES else 0.0


def _exhausted(figures: Figures, _policy: Thresholds) -> Iterator[Problem]:
    for one in figures.accounts:
        if one.exhausted:
            noun = "delivery" if one.exhausted == 1 else "deliveries"
            events = f"{capped_count(one.exhausted, MAX_COUNTED_FAILURES)} {noun}"
            words = (
                f"{events} to ad account {one.ad_account_id} failed after every retry, and wait for a hand."
            )
            yield Problem("retries_exhausted", one.ad_account_id, Severity.WARNING, words)


def _contradicted(figures: Figures, _policy: Thresholds) -> Iterator[Problem]:
    for account in figures.accounts:
        if account.contradicted:
            have = "event has an id" if account.contradicted == 1 else "events have ids"
            words = (
                f"{account.contradicted:,} signed {have} for ad account {account.ad_account_id} that public events "
                f"with another order id, value or currency used before, within the last two hours."
            )
            yield Problem("event_ids_used_before", account.ad_account_id, Severity.WARNING, words)


def _pending(figures: Figures, policy: Thresholds) -> Iterator[Problem]:
    for one in figures.accounts:
        # What waits for an open breaker or for a token has an alert of its own.
        if one.waiting_since is None or one.paused_class is not None or one.breaker_open_until is not None:
            continue
        age = figures.now - one.waiting_since
        if age > policy.pending_seconds:
            words = (
                f"The oldest of {capped_count(one.waiting, MAX_COUNTED_WAITING)} events for ad account "
                f"{one.ad_account_id} was accepted {format_duration(age)} ago."
            )
            yield Problem("oldest_pending", one.ad_account_id, Severity.WARNING, words)


def _going_stale(figures: Figures, policy: Thresholds) -> Iterator[Problem]:
    for one in figures.accounts:
        hours = hours_until_stale(one, figures.now)
        if hours is None or one.oldest_event_at is None or figures.now - one.oldest_event_at < _HOUR:
            continue
        drained = hours_until_drained(one)
        if hours > policy.stale_warning_hours and drained <= hours:
            continue
        severity = Severity.CRITICAL if hours <= policy.stale_critical_hours else Severity.WARNING
        yield Problem("backlog_going_stale", one.ad_account_id, severity, _staleness_words(one, hours))


def _staleness_words(account: AccountFigures, hours: float) -> str:
    when = f"begins to go stale in {hours:.0f} hours" if hours > 0 else "is going stale"
    pace = f"{account.delivered_an_hour:,} an hour" if account.delivered_an_hour else "nothing"
    return (
        f"The backlog of ad account {account.ad_account_id} {when}: "
        f"{capped_count(account.waiting, MAX_COUNTED_WAITING)} wait, and {pace} is delivered."
    )


def hours_until_stale(account: AccountFigures, now: float) -> float | None:
    """Return in how many hours Pinterest will refuse the oldest that waits; None where nothing waits."""
    if account.oldest_event_at is None:
        return None
    return max(0.0, (account.oldest_event_at + _STALE_SECONDS - now) / _HOUR)


def hours_until_drained(account: AccountFigures) -> float:
    """Return how many hours the backlog takes at the present pace; infinite where nothing moves, or too much waits."""
    if not account.delivered_an_hour or account.waiting >= MAX_COUNTED_WAITING:
        return float("inf")
    return account.waiting / account.delivered_an_hour


def _breaker(figures: Figures, _policy: Thresholds) -> Iterator[Problem]:
    for one in figures.accounts:
        if one.breaker_open_until is not None and one.paused_class is None:
            words = (
                f"Pinterest does not take events for ad account {one.ad_account_id}: "
                f"{capped_count(one.waiting, MAX_COUNTED_WAITING)} wait, and one batch tries now and then."
            )
            yield Problem("breaker_open", one.ad_account_id, Severity.WARNING, words)


def _refused(figures: Figures, _policy: Thresholds) -> Iterator[Problem]:
    for one in figures.accounts:
        if one.paused_class in REFUSED_CLASSES:
            words = (
                f"Pinterest refuses ad account {one.ad_account_id} ({one.paused_class}): {one.paused_reason}"
            )
            yield Problem("token_refused", one.ad_account_id, Severity.CRITICAL, words)


def _expiring(figures: Figures, policy: Thresholds) -> Iterator[Problem]:
    for one in figures.tokens:
        left = one.expires_at - figures.now
        if left <= policy.expiry_warning_seconds:
            yield Problem(
                "token_expiring", one.integration_id, _urgency(left, policy), _expiry_words(one, left)
            )


def _urgency(left: float, policy: Thresholds) -> Severity:
    return Severity.CRITICAL if left <= policy.expiry_critical_seconds else Severity.WARNING


def _expiry_words(token: TokenFigures, left: float) -> str:
    when = f"expires in {format_duration(left)}" if left > 0 else f"expired {format_duration(-left)} ago"
    return f"The access token of {token.integration_id} (ad account {token.ad_account_id}) {when}."


def _silent(name: str, rule: str, words: str) -> Callable[[Figures, Thresholds], Iterator[Problem]]:
    def seen(figures: Figures, policy: Thresholds) -> Iterator[Problem]:
        last = figures.pulses.get(name)
        if last is None:
            yield Problem(rule, name, Severity.CRITICAL, f"{words} has never run.")
        elif figures.now - last > policy.silent_seconds:
            yield Problem(
                rule, name, Severity.CRITICAL, f"{words} last ran {format_duration(figures.now - last)} ago."
            )

    return seen


def _inbox_waiting(figures: Figures, policy: Thresholds) -> Iterator[Problem]:
    since = figures.inbox_since
    if since is not None and figures.now - since > policy.inbox_seconds:
        words = (
            f"The oldest accepted event has waited {format_duration(figures.now - since)} to be worked on."
        )
        yield Problem("inbox_waiting", "inbox", Severity.WARNING, words)


def _inbox_full(figures: Figures, policy: Thresholds) -> Iterator[Problem]:
    near = [one for one in figures.full_sources if one.events >= policy.backlog_share * one.limit]
    fullest: dict[str, SourceFigures] = {}
    for one in sorted(near, key=lambda one: one.events / one.limit):
        fullest[one.source_id] = one
    # One alert per source, about the bound that is used up the most.
    for one in fullest.values():
        yield Problem("inbox_near_bound", one.source_id, _fullness(one), _fullness_words(one))


def _fullness(source: SourceFigures) -> Severity:
    return Severity.CRITICAL if source.events >= source.limit else Severity.WARNING


def _fullness_words(source: SourceFigures) -> str:
    then = "" if source.events >= source.limit else "beyond that "
    return (
        f"{source.events:,} of at most {source.limit:,} {source.trust} events of {source.source_id} "
        "wait in the inbox: "
        f"{then}the collector refuses more."
    )


def _parked(figures: Figures, _policy: Thresholds) -> Iterator[Problem]:
    if figures.parked:
        plural = "s" * (figures.parked != 1)
        words = f"{figures.parked:,} accepted event{plural} could not be worked on and wait for a hand."
        yield Problem("events_parked", "inbox", Severity.WARNING, words)


def _disk(figures: Figures, policy: Thresholds) -> Iterator[Problem]:
    if figures.free_bytes is not None and figures.free_bytes < policy.least_free_bytes:
        words = f"The disk of the state folder has {figures.free_bytes / 1024**2:,.0f} MB left."
        yield Problem("disk_nearly_full", "disk", Severity.CRITICAL, words)


RULES = {
    "retries_exhausted": Rule(
        0.0,
        "See why with `failed list`; once Pinterest is well again, `failed retry --all` sends them.",
        _exhausted,
    ),
    "event_ids_used_before": Rule(
        0.0,
        "Find out who sends them: the pipeline key stands in every page. List the event in the source's "
        "signed_only_events where the server sends it, and use event ids that cannot be guessed.",
        _contradicted,
    ),
    "oldest_pending": Rule(
        60.0,
        "See in Flower whether the delivery worker runs and keeps up; start another one, or raise the account's rate.",
        _pending,
    ),
    "backlog_going_stale": Rule(
        300.0,
        "Mend what holds the account up before these hours are over: Pinterest refuses events older than seven days.",
        _going_stale,
    ),
    "breaker_open": Rule(
        300.0,
        "Look at Pinterest's status page and at this machine's way out; nothing is lost, and it goes on by itself.",
        _breaker,
    ),
    "token_refused": Rule(
        0.0,
        "Make a new access token in Ads Manager and give it to the integration: that resumes it by itself.",
        _refused,
    ),
    "token_expiring": Rule(
        0.0, "Make a new access token in Ads Manager and give it to the integration, with its end.", _expiring
    ),
    # A whole service that was just started needs a moment for its first run.
    "batcher_silent": Rule(
        60.0,
        "Restart beat and the upkeep worker: nothing is batched meanwhile, and nothing is lost.",
        _silent("batcher", "batcher_silent", "The batcher"),
    ),
    "sweeper_silent": Rule(
        60.0,
        "Restart beat and the upkeep worker: what was forgotten is not taken up meanwhile, and nothing is lost.",
        _silent("sweeper", "sweeper_silent", "The sweeper"),
    ),
    "inbox_waiting": Rule(
        60.0,
        "See in Flower whether the ingest worker runs and keeps up; start another one.",
        _inbox_waiting,
    ),
    "inbox_near_bound": Rule(
        0.0,
        "Start more ingest workers, or raise the source's backlog_limit or public_backlog_limit if the disk has room.",
        _inbox_full,
    ),
    "events_parked": Rule(
        0.0,
        "Read the reasons (GET /v1/admin/parked), mend them, then let the events go (POST /v1/admin/parked/retry).",
        _parked,
    ),
    "disk_nearly_full": Rule(
        60.0,
        "Make room: below 512 MB the collector refuses public events with 503, and below 256 MB all events, "
        "so that the ledger can still be written.",
        _disk,
    ),
}

VOLUME_RULE = "volume_dropped"
_VOLUME_ADVICE = (
    "See whether the shop still sends the event: after a change of its pages the call often is what was lost."
)
LEDGER_RULE = "ledger_away"
_LEDGER_ADVICE = (
    "Bring the database back: the collector answers 503 meanwhile, and its callers keep their events."
)
ADVICE = {name: rule.advice for name, rule in RULES.items()} | {
    VOLUME_RULE: _VOLUME_ADVICE,
    LEDGER_RULE: _LEDGER_ADVICE,
}
