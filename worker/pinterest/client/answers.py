"""What an answer of Pinterest's means for each event and for the account."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from worker.pinterest.client.client import Answer, SendFailure, mask
from worker.pinterest.client.retry_policy import rate_limit_seconds, retry_after_seconds

# An endpoint that was switched off does not come back within seconds.
_SWITCHED_OFF_SECONDS = 900.0
_SWITCHED_OFF_CODE = "4197"

_UNREADABLE_ANSWERS = 2


class ReasonClass(StrEnum):
    """Sort reasons for whoever filters, counts and retries them."""

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
    NOT_SENDABLE = "not_sendable"


@dataclass(frozen=True, slots=True)
class EventResult:
    """Hold one event's end; a delivered one has no reason, and either may have a warning."""

    delivered: bool
    reason_class: str = ""
    reason: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Settle:
    """Every event has its end, in the order of the request."""

    results: tuple[EventResult, ...]


@dataclass(frozen=True, slots=True)
class Halve:
    """Something in the request is bad: send both halves by themselves, and fail an event that stands alone.

    Of a batch of n events with k bad ones, at most min(2^d, k) parts at depth d hold a bad one; only those
    are halved, each into two requests; and no depth goes beyond L = ceil(log2 n). With c = ceil(log2 k), all
    of it costs at most 1 + 2 · (2^c - 1 + k · (L - c)) requests: 55 for 3 among 1,000.

    Where ``outcome_known`` is false, Pinterest may have taken some of the events.
    """

    reason_class: str
    reason: str
    outcome_known: bool


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Send the same bytes later, not before ``after_seconds`` where Pinterest named a time.

    Where ``outcome_known`` is false, Pinterest may have taken the events, and those that it cannot
    deduplicate must wait for a hand.
    """

    reason_class: str
    reason: str
    after_seconds: float | None
    counts_attempt: bool
    outcome_known: bool


@dataclass(frozen=True, slots=True)
class PauseAccount:
    """The account or its token is at fault: keep the events, count no attempt, tell somebody."""

    reason_class: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Pinterest took the request, and its answer makes no sense: the outcome is unknown; try once more."""

    reason: str


BatchDecision = Settle | Halve | RetryLater | PauseAccount | Unreadable

_DELIVERED = EventResult(True)


def decide_batch(answer: Answer, events_sent: int, *, unreadable_tries: int = 0) -> BatchDecision:
    """Decide what becomes of a batch of ``events_sent`` events after an answer, or after none.

    The HTTP status decides, and the body only where the status leaves it open. ``unreadable_tries`` counts
    the answers to this batch that were unreadable before this one; the second one fails its events.
    """
    status = answer.status
    if status is None:
        return _without_status(answer)
    body_matters = 200 <= status < 300 or status == 422
    if body_matters and answer.failure is SendFailure.UNKNOWN:
        return _retry_later(answer, ReasonClass.NO_ANSWER, mask(f"HTTP {status}, but {answer.detail}"))
    document = _parse(answer.body)
    if 200 <= status < 300:
        return _accepted(answer, document, events_sent, unreadable_tries)
    reason = _reason(answer, document)
    if status == 422:
        return _partly_accepted(document, reason, events_sent)
    if 400 <= status < 500:
        return _refused(answer, status, document, reason)
    return _not_done(answer, status, document, reason)


def fail_single(decision: Halve) -> Settle:
    """Fail the one event that a refused batch has left."""
    return _fail_all(decision.reason_class, decision.reason, 1)


def have_same_message(reasons: Sequence[str]) -> bool:
    """Say whether all of at least two parts were refused with the same words, numbers aside.

    Then the fault is the account's. Give it parts that share no event: a part repeats what its half was told.
    """
    spoken = {tuple(_WORD.findall(reason.casefold())) for reason in reasons}
    return len(reasons) > 1 and len(spoken) == 1 and () not in spoken


def _without_status(answer: Answer) -> BatchDecision:
    detail = mask(answer.detail)
    if answer.failure is SendFailure.UNSENDABLE:
        return PauseAccount(ReasonClass.NOT_SENDABLE, detail)
    if answer.failure is SendFailure.NOT_SENT:
        return _retry_later(answer, ReasonClass.NOT_REACHED, detail, outcome_known=True)
    return _retry_later(answer, ReasonClass.NO_ANSWER, detail)


def _accepted(answer: Answer, document: object, events_sent: int, unreadable_tries: int) -> BatchDecision:
    """Settle by the list alone: where the counts beside it disagree, they are the ones that are wrong."""
    events = document.get("events") if isinstance(document, dict) else None
    results = _results(events, events_sent)
    if results:
        return Settle(results)
    reason = mask(
        f"HTTP {answer.status}, but {answer.detail or _what_is_unreadable(document, events, events_sent)}"
    )
    if unreadable_tries + 1 >= _UNREADABLE_ANSWERS:
        return _fail_all(ReasonClass.UNREADABLE, reason, events_sent)
    return Unreadable(reason)


def _partly_accepted(document: object, reason: str, events_sent: int) -> BatchDecision:
    for candidate in _event_lists(document):
        results = _results(candidate, events_sent)
        if results:
            return Settle(results)
    return Halve(ReasonClass.MALFORMED, reason, outcome_known=False)


# The request as such can never be taken, whatever its events and whenever it is sent. Neither halving nor
# waiting helps, so the events are kept and a person looks.
_PAUSES = {
    # The token is bad, expired or short of scope; or not this account's; or there is no such account.
    401: ReasonClass.UNAUTHORIZED,
    403: ReasonClass.FORBIDDEN,
    404: ReasonClass.NO_SUCH_ACCOUNT,
    # The advertiser owes money.
    402: ReasonClass.FORBIDDEN,
    # Not for legal reasons: a hand decides whether sending ever goes on.
    451: ReasonClass.FORBIDDEN,
    # Method, form, length, media type, protocol or headers of ours are not wanted any more, or all is gone.
    **dict.fromkeys((405, 406, 410, 411, 414, 415, 417, 426, 428, 431), ReasonClass.UNEXPECTED),
}

# Something on the way refused before Pinterest saw the events: a proxy that wants a password, a connection
# that led to the wrong server, a lock, an early TLS request.
_AGAIN_AND_KNOWN = frozenset({407, 421, 423, 425})

# The document's own error. Only these words alone: an event may carry them too, and Pinterest may echo it.
_WORD = re.compile(r"[^\W\d_]+")
_ACCOUNTS_FAULT = re.compile(r"invalid ad[ _]account([ _]id)?\.?", re.IGNORECASE)


def _refused(answer: Answer, status: int, document: object, reason: str) -> BatchDecision:
    if status == 429:
        return RetryLater(ReasonClass.RATE_LIMITED, reason, rate_limit_seconds(answer.headers), False, True)
    if status in _PAUSES:
        return PauseAccount(_PAUSES[status], reason)
    if status == 400 and _ACCOUNTS_FAULT.fullmatch(_text(document, "message").strip()):
        return PauseAccount(ReasonClass.NO_SUCH_ACCOUNT, reason)
    # 413: two halves may fit where the whole did not.
    if status in (400, 413):
        return Halve(ReasonClass.MALFORMED, reason, outcome_known=True)
    # 408, 409, 424, 499 and what nobody has written down: most come from machines on the way and pass, so
    # trying again heals them without a hand. Whether the events arrived, none of them says.
    return _retry_later(answer, ReasonClass.UNEXPECTED, reason, outcome_known=status in _AGAIN_AND_KNOWN)


def _not_done(answer: Answer, status: int, document: object, reason: str) -> BatchDecision:
    if status == 503 and isinstance(document, dict) and str(document.get("code")) == _SWITCHED_OFF_CODE:
        after_seconds = max(_SWITCHED_OFF_SECONDS, retry_after_seconds(answer.headers) or 0.0)
        return RetryLater(ReasonClass.SWITCHED_OFF, reason, after_seconds, True, True)
    if 500 <= status < 600:
        return _retry_later(answer, ReasonClass.UNAVAILABLE, reason)
    # A redirect is not followed: the token goes where the settings say, and trying again heals it once the
    # network is right. 301, 307 and 308 say that the request is still to be made; the others may come after.
    return _retry_later(answer, ReasonClass.UNEXPECTED, reason, outcome_known=status in (301, 307, 308))


def _retry_later(
    answer: Answer, reason_class: str, reason: str, *, outcome_known: bool = False
) -> RetryLater:
    return RetryLater(reason_class, reason, retry_after_seconds(answer.headers), True, outcome_known)


def _fail_all(reason_class: str, reason: str, events: int) -> Settle:
    return Settle((EventResult(False, reason_class, reason),) * events)


# Reading the body


def _parse(body: bytes | str) -> object:
    """Read JSON of any shape; what is none, or is nested too deep to read, is nothing."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _text(document: object, key: str) -> str:
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, str) else ""


def _reason(answer: Answer, document: object) -> str:
    code = document.get("code") if isinstance(document, dict) else None
    start = f"HTTP {answer.status}" + (f", code {code}" if isinstance(code, int) else "")
    words = _text(document, "message") or _text(document, "details") or answer.detail
    return mask(f"{start}: {words}" if words else start)


def _event_lists(value: object, depth: int = 0) -> Iterator[list[Any]]:
    """Find the lists where a 422 may keep its events: the shape of its details is not published."""
    if depth > 4:
        return
    if isinstance(value, str):
        yield from _event_lists(_parse(value) if value[:1] in ("{", "[") else None, depth + 1)
    elif isinstance(value, list):
        yield value
    elif isinstance(value, dict):
        for key in ("events", "details"):
            yield from _event_lists(value.get(key), depth + 1)


def _results(events: object, events_sent: int) -> tuple[EventResult, ...] | None:
    """Settle by position, if the list is as long as the request and knows at least one status that we do."""
    if not isinstance(events, list) or len(events) != events_sent:
        return None
    statuses = [_text(entry, "status").strip().casefold() for entry in events]
    if not any(status in ("processed", "failed") for status in statuses):
        return None
    return tuple(_result(entry, status) for entry, status in zip(events, statuses, strict=True))


def _result(entry: object, status: str) -> EventResult:
    words, warning = mask(_text(entry, "error_message")), mask(_text(entry, "warning_message"))
    if status == "processed":
        # An error on an event that was processed is worth showing, and no reason to send it twice.
        warning = "; ".join(filter(None, (warning, words)))
        return EventResult(True, warning=warning) if warning else _DELIVERED
    if status == "failed":
        return EventResult(False, ReasonClass.REFUSED, words or "Pinterest gave no reason", warning)
    # The others' places are right all the same. This one may have been taken, so no machine sends it again.
    reason = mask(f"Pinterest gave an unknown status, {status!r}: {words}".rstrip(": "))
    return EventResult(False, ReasonClass.UNREADABLE, reason, warning)


def _what_is_unreadable(document: object, events: object, events_sent: int) -> str:
    if document is None:
        return "the answer is not JSON"
    if not isinstance(events, list):
        return "the answer has no list of events"
    if len(events) != events_sent:
        return f"the answer lists {len(events)} events where {events_sent} were sent"
    words = sorted({_text(entry, "status") for entry in events})
    return f"the answer knows only the statuses {', '.join(map(repr, words[:3]))}"
