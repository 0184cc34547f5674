"""Decide from Pinterest's answer what happens to each event, to the batch and to the account."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from worker.pinterest.client.answer_masking import NOTHING_SENT, Echo
from worker.pinterest.client.client import Answer, SendFailure, mask
from worker.pinterest.client.retry_delays import rate_limit_seconds, retry_after_seconds
from worker.pinterest.mapping.contract import NEWER_FIELDS, SCHEMA_VERSIONS

# Wait when Pinterest has switched the endpoint off and names no time.
_SWITCHED_OFF_SECONDS = 900.0
_SWITCHED_OFF_CODE = "4197"

_UNREADABLE_ANSWERS = 2


class ReasonClass(StrEnum):
    """The kind of a failure, for filters, counts and retries."""

    REFUSED = "refused"
    MALFORMED = "malformed"
    UNREADABLE = "unreadable"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    SWITCHED_OFF = "switched_off"
    NOT_REACHED = "not_reached"
    NO_ANSWER = "no_answer"
    UNEXPECTED = "unexpected"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NO_SUCH_ACCOUNT = "no_such_account"
    # A new token does not help.
    ACCOUNT_BLOCKED = "account_blocked"
    NOT_SENDABLE = "not_sendable"


# Pinterest was away. Such deliveries are retried after the outage, if AUTO_RETRY is set.
OUTAGES = (ReasonClass.NOT_REACHED, ReasonClass.SWITCHED_OFF, ReasonClass.UNAVAILABLE, ReasonClass.NO_ANSWER)
# Retries may run out; the event itself is valid.
RETRIED = (*OUTAGES, ReasonClass.RATE_LIMITED, ReasonClass.UNEXPECTED, ReasonClass.UNREADABLE)
# Pauses that need a new token or another ad account.
REFUSALS = (
    ReasonClass.UNAUTHORIZED,
    ReasonClass.FORBIDDEN,
    ReasonClass.NO_SUCH_ACCOUNT,
    ReasonClass.NOT_SENDABLE,
)


@dataclass(frozen=True, slots=True)
class EventResult:
    """The final result of one event. A delivered event has no reason; both kinds may have a warning."""

    delivered: bool
    reason_class: str = ""
    reason: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Settle:
    """Settle every event; the results are in the order of the request."""

    results: tuple[EventResult, ...]


@dataclass(frozen=True, slots=True)
class Halve:
    """Send both halves separately, because some event in the request is invalid; fail a single event.

    In a batch of n events with k invalid ones, at most min(2^d, k) parts at depth d hold an invalid event. Only those
    are halved, each into two requests, down to depth L = ceil(log2 n). With c = ceil(log2 k), this takes at most
    1 + 2 · (2^c - 1 + k · (L - c)) requests: 55 for 3 invalid events among 1,000.

    If ``outcome_known`` is false, Pinterest may have accepted some of the events.
    """

    reason_class: str
    reason: str
    outcome_known: bool


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Send the same bytes later, not before ``after_seconds`` if Pinterest named a time.

    If ``outcome_known`` is false, Pinterest may have accepted the events; those that it cannot deduplicate need
    manual action.
    """

    reason_class: str
    reason: str
    after_seconds: float | None
    counts_attempt: bool
    outcome_known: bool


@dataclass(frozen=True, slots=True)
class PauseCredential:
    """Pause the access token, as it or its account is at fault: keep the events, count no attempt, raise an alert."""

    reason_class: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Try once more: Pinterest accepted the request, but its answer cannot be read, so the outcome is unknown."""

    reason: str


BatchDecision = Settle | Halve | RetryLater | PauseCredential | Unreadable

_DELIVERED = EventResult(True)


def decide_batch(
    answer: Answer, events_sent: int, *, unreadable_tries: int = 0, sent: Echo = NOTHING_SENT
) -> BatchDecision:
    """Decide what happens to a batch of ``events_sent`` events after an answer, or without one.

    The HTTP status decides; the body counts only for a 2xx or 422. ``unreadable_tries`` is the number of earlier
    unreadable answers to this batch; the second unreadable answer fails its events. Reasons
    and warnings repeat nothing of ``sent``.
    """
    status = answer.status
    if status is None:
        return _without_status(answer)
    body_matters = 200 <= status < 300 or status == 422
    if body_matters and answer.failure is SendFailure.UNKNOWN:
        return _retry_later(answer, ReasonClass.NO_ANSWER, mask(f"HTTP {status}, but {answer.detail}"))
    document = _parse(answer.body)
    if 200 <= status < 300:
        return _accepted(answer, document, events_sent, unreadable_tries, sent)
    reason = _reason(answer, document, sent)
    if status == 422:
        return _partly_accepted(document, reason, events_sent, sent)
    if 400 <= status < 500:
        return _refused(answer, status, document, reason)
    return _not_done(answer, status, document, reason)


def fail_single(decision: Halve) -> Settle:
    """Fail the only event of a refused batch."""
    return _fail_all(decision.reason_class, decision.reason, 1)


def have_same_message(reasons: Sequence[str]) -> bool:
    """Return whether at least two parts were refused with the same words, numbers aside: the account is at fault.

    Pass only parts that share no event: the parts of a refused half get the same message.
    """
    messages = {tuple(_WORD.findall(reason.casefold())) for reason in reasons}
    return len(reasons) > 1 and len(messages) == 1 and () not in messages


def _without_status(answer: Answer) -> BatchDecision:
    detail = mask(answer.detail)
    if answer.failure is SendFailure.UNSENDABLE:
        return PauseCredential(ReasonClass.NOT_SENDABLE, detail)
    if answer.failure is SendFailure.NOT_SENT:
        return _retry_later(answer, ReasonClass.NOT_REACHED, detail, outcome_known=True)
    return _retry_later(answer, ReasonClass.NO_ANSWER, detail)


def _accepted(
    answer: Answer, document: object, events_sent: int, unreadable_tries: int, sent: Echo
) -> BatchDecision:
    """Settle by the list of events alone; the answer's counts are ignored, even if they disagree."""
    events = document.get("events") if isinstance(document, dict) else None
    results = _results(events, events_sent, sent)
    if results:
        return Settle(results)
    words = answer.detail or _masked(sent, _what_is_unreadable(document, events, events_sent))
    reason = mask(f"HTTP {answer.status}, but {words}")
    if unreadable_tries + 1 >= _UNREADABLE_ANSWERS:
        return _fail_all(ReasonClass.UNREADABLE, reason, events_sent)
    return Unreadable(reason)


def _partly_accepted(document: object, reason: str, events_sent: int, sent: Echo) -> BatchDecision:
    for candidate in _event_lists(document):
        results = _results(candidate, events_sent, sent)
        if results:
            return Settle(results)
    return Halve(ReasonClass.MALFORMED, reason, outcome_known=False)


# Pinterest can never accept such a request, with any events or at any time. Neither halving nor waiting helps, so the
# events wait for an operator.
_PAUSING_STATUSES = {
    # The token is invalid or expired, or lacks a scope; or belongs to another account; or the account does not exist.
    401: ReasonClass.UNAUTHORIZED,
    403: ReasonClass.FORBIDDEN,
    404: ReasonClass.NO_SUCH_ACCOUNT,
    # The advertiser owes money.
    402: ReasonClass.ACCOUNT_BLOCKED,
    # Refused for legal reasons: an operator decides whether to continue.
    451: ReasonClass.ACCOUNT_BLOCKED,
    # Pinterest no longer accepts this method, form, length, media type, protocol or header, or the API is gone.
    **dict.fromkeys((405, 406, 410, 411, 414, 415, 417, 426, 428, 431), ReasonClass.UNEXPECTED),
}

# Refused before Pinterest read the events: a proxy that requires a password, a connection to the wrong server, a
# lock, an early TLS request.
_REFUSED_UNREAD = frozenset({407, 421, 423, 425})

# The message must consist of these words alone: an event may contain them too, and Pinterest may echo it.
_WORD = re.compile(r"[^\W\d_]+")
_ACCOUNTS_FAULT = re.compile(r"invalid ad[ _]account([ _]id)?\.?", re.IGNORECASE)


def _refused(answer: Answer, status: int, document: object, reason: str) -> BatchDecision:
    if status == 429:
        return RetryLater(ReasonClass.RATE_LIMITED, reason, rate_limit_seconds(answer.headers), False, True)
    if status in _PAUSING_STATUSES:
        return PauseCredential(_PAUSING_STATUSES[status], reason)
    if status == 400 and _ACCOUNTS_FAULT.fullmatch(_text(document, "message").strip()):
        return PauseCredential(ReasonClass.NO_SUCH_ACCOUNT, reason)
    # 413: each half may be small enough.
    if status in (400, 413):
        return Halve(ReasonClass.MALFORMED, reason, outcome_known=True)
    # 408, 409, 424, 499 and undocumented statuses: most come from proxies on the way and pass, so a retry helps. They
    # do not say whether the events arrived.
    return _retry_later(answer, ReasonClass.UNEXPECTED, reason, outcome_known=status in _REFUSED_UNREAD)


def _not_done(answer: Answer, status: int, document: object, reason: str) -> BatchDecision:
    if status == 503 and isinstance(document, dict) and str(document.get("code")) == _SWITCHED_OFF_CODE:
        requested_seconds = retry_after_seconds(answer.headers)
        after_seconds = _SWITCHED_OFF_SECONDS if requested_seconds is None else requested_seconds
        return RetryLater(ReasonClass.SWITCHED_OFF, reason, after_seconds, True, True)
    if 500 <= status < 600:
        return _retry_later(answer, ReasonClass.UNAVAILABLE, reason)
    # A redirect is not followed: the token goes only to the configured server. A retry succeeds once the network is
    # fixed. After 301, 307 and 308 the request was not processed; after the others it may have been.
    return _retry_later(answer, ReasonClass.UNEXPECTED, reason, outcome_known=status in (301, 307, 308))


def _retry_later(
    answer: Answer, reason_class: str, reason: str, *, outcome_known: bool = False
) -> RetryLater:
    return RetryLater(reason_class, reason, retry_after_seconds(answer.headers), True, outcome_known)


def _fail_all(reason_class: str, reason: str, events: int) -> Settle:
    return Settle((EventResult(False, reason_class, reason),) * events)


# Reading the body


def _parse(body: bytes | str) -> object:
    """Parse JSON of any shape; None if it is invalid or nested too deeply."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _text(document: object, key: str) -> str:
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, str) else ""


def _reason(answer: Answer, document: object, sent: Echo) -> str:
    code = document.get("code") if isinstance(document, dict) else None
    start = f"HTTP {answer.status}" + (f", code {code}" if isinstance(code, int) else "")
    words = _masked(sent, _text(document, "message") or _text(document, "details")) or answer.detail
    for field in NEWER_FIELDS:
        if answer.status == 400 and field in words:
            words += (
                f" ({field} is part of Pinterest's API since {NEWER_FIELDS[field]}: "
                f"set schema_version to {SCHEMA_VERSIONS[0]} to leave it out)"
            )
    return mask(f"{start}: {words}" if words else start)


def _event_lists(value: object, depth: int = 0) -> Iterator[list[Any]]:
    """Yield the lists that may hold the events of a 422 answer, whose format is not documented."""
    if depth > 4:
        return
    if isinstance(value, str):
        yield from _event_lists(_parse(value) if value[:1] in ("{", "[") else None, depth + 1)
    elif isinstance(value, list):
        yield value
    elif isinstance(value, dict):
        for key in ("events", "details"):
            yield from _event_lists(value.get(key), depth + 1)


def _results(events: object, events_sent: int, sent: Echo) -> tuple[EventResult, ...] | None:
    """Read results by position, if the list is as long as the request and has at least one known status."""
    if not isinstance(events, list) or len(events) != events_sent:
        return None
    statuses = [_text(entry, "status").strip().casefold() for entry in events]
    if not any(status in ("processed", "failed") for status in statuses):
        return None
    return tuple(_result(entry, status, sent) for entry, status in zip(events, statuses, strict=True))


def _result(entry: object, status: str, sent: Echo) -> EventResult:
    words = _masked(sent, _text(entry, "error_message"))
    warning = _masked(sent, _text(entry, "warning_message"))
    if status == "processed":
        # Show an error on a processed event, but do not send the event again.
        warning = "; ".join(filter(None, (warning, words)))
        return EventResult(True, warning=warning) if warning else _DELIVERED
    if status == "failed":
        return EventResult(False, ReasonClass.REFUSED, words or "Pinterest gave no reason", warning)
    # The other results count all the same. Pinterest may have accepted this event, so it is not sent again
    # automatically.
    reason = mask(f"Pinterest gave an unknown status, {_masked(sent, status)!r}: {words}".rstrip(": "))
    return EventResult(False, ReasonClass.UNREADABLE, reason, warning)


def _what_is_unreadable(document: object, events: object, events_sent: int) -> str:
    if document is None:
        return "the answer is not JSON"
    if not isinstance(events, list):
        return "the answer has no list of events"
    if len(events) != events_sent:
        return f"the answer lists a wrong number of events: {len(events)}, not {events_sent}"
    statuses = sorted({_text(entry, "status") for entry in events})
    return f"the answer has only the statuses {', '.join(map(repr, statuses[:3]))}"


def _masked(sent: Echo, text: str) -> str:
    """Mask what looks personal, then what the request sent.

    In the other order "[sent]" could replace a part of an e-mail address, and the rest would no longer look like one.
    """
    return sent.mask(mask(text))
