"""Which decision follows from each answer of Pinterest's."""

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pinterest.client.answer_decisions import (
    BatchDecision,
    EventResult,
    Halve,
    PauseCredential,
    ReasonClass,
    RetryLater,
    Settle,
    Unreadable,
    decide_batch,
    fail_single,
    have_same_message,
)
from worker.pinterest.client.client import Answer, SendFailure

DELIVERED = EventResult(True)
PROCESSED = {"status": "processed", "error_message": "", "warning_message": ""}
REFUSED = {"status": "failed", "error_message": "event_time is too old"}
REFUSED_RESULT = EventResult(False, "refused", "event_time is too old")


def answer(
    status: int | None,
    body: object = b"",
    headers: Mapping[str, str] | None = None,
    failure: SendFailure | None = None,
    detail: str = "",
) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, headers or {}, raw, failure, 0.1, detail)


def listing(*events: object, **counts: int) -> dict[str, Any]:
    return {
        "num_events_received": len(events),
        "num_events_processed": len(events),
        "events": events,
    } | counts


def error_body(code: int, message: str, **more: object) -> dict[str, Any]:
    return {"code": code, "message": message, **more}


# The statuses


def retry(reason_class: str, reason: str, after: float | None = None, known: bool = False) -> RetryLater:
    return RetryLater(reason_class, reason, after, True, known)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # Without an answer, Pinterest may have the events only if the request was fully sent.
        (
            answer(None, failure=SendFailure.NOT_SENT, detail="the connection was refused"),
            retry("not_reached", "the connection was refused", known=True),
        ),
        (
            answer(None, failure=SendFailure.UNKNOWN, detail="no answer came in time"),
            retry("no_answer", "no answer came in time"),
        ),
        # A token that is not valid in a header is the account's fault; a retry does not help.
        (
            answer(None, failure=SendFailure.UNSENDABLE, detail="the access token is invalid"),
            PauseCredential("not_sendable", "the access token is invalid"),
        ),
        # Accepted, but the list was lost on the way: Pinterest may have all events.
        (
            answer(200, failure=SendFailure.UNKNOWN, detail="the answer was cut off"),
            retry("no_answer", "HTTP 200, but the answer was cut off"),
        ),
        (
            answer(422, failure=SendFailure.UNKNOWN, detail="the answer was cut off"),
            retry("no_answer", "HTTP 422, but the answer was cut off"),
        ),
        # The status of a refusal is enough, even without its body.
        (
            answer(401, failure=SendFailure.UNKNOWN, detail="the answer was cut off"),
            PauseCredential("unauthorized", "HTTP 401: the answer was cut off"),
        ),
        # One malformed event is a 400 for all events: find it by halving.
        (
            answer(400, error_body(1, "Additional properties are not allowed ('category_name')")),
            Halve(
                "malformed",
                "HTTP 400, code 1: Additional properties are not allowed ('category_name')",
                True,
            ),
        ),
        (answer(400, b"<html>Bad Request</html>"), Halve("malformed", "HTTP 400", True)),
        # The documented error body is the account's fault.
        (
            answer(400, error_body(2, "Invalid ad_account_id", status="failure")),
            PauseCredential("no_such_account", "HTTP 400, code 2: Invalid ad_account_id"),
        ),
        # An event with the same words, echoed by Pinterest, does not pause the account.
        (
            answer(400, error_body(2, "'Invalid ad_account_id' is not a currency")),
            Halve("malformed", "HTTP 400, code 2: 'Invalid ad_account_id' is not a currency", True),
        ),
        # 401, 403 and 404 must not count as attempts, or the events would fail for good.
        (
            answer(401, error_body(2, "Authentication failed.")),
            PauseCredential("unauthorized", "HTTP 401, code 2: Authentication failed."),
        ),
        (
            answer(403, error_body(29, "You are not permitted.")),
            PauseCredential("forbidden", "HTTP 403, code 29: You are not permitted."),
        ),
        (
            answer(404, error_body(2, "Invalid ad_account_id", status="failure")),
            PauseCredential("no_such_account", "HTTP 404, code 2: Invalid ad_account_id"),
        ),
        # Payment and legal reasons: an operator decides.
        (answer(402), PauseCredential("account_blocked", "HTTP 402")),
        (answer(451), PauseCredential("account_blocked", "HTTP 451")),
        # The request itself is refused: other events would be refused too.
        (answer(405), PauseCredential("unexpected", "HTTP 405")),
        (answer(410), PauseCredential("unexpected", "HTTP 410")),
        (answer(415), PauseCredential("unexpected", "HTTP 415")),
        (answer(431), PauseCredential("unexpected", "HTTP 431")),
        # Halving makes a large request small enough.
        (answer(413), Halve("malformed", "HTTP 413", True)),
        # A proxy gave up on a slow request, which may have arrived at Pinterest.
        (answer(408), retry("unexpected", "HTTP 408")),
        (answer(409), retry("unexpected", "HTTP 409")),
        # Refused before Pinterest saw it.
        (answer(407), retry("unexpected", "HTTP 407", known=True)),
        (answer(421), retry("unexpected", "HTTP 421", known=True)),
        (answer(425), retry("unexpected", "HTTP 425", known=True)),
        # Undocumented statuses: a later retry is harmless and needs no operator.
        (answer(418), retry("unexpected", "HTTP 418")),
        (answer(499), retry("unexpected", "HTTP 499")),
        # A rate limit is never the events' fault.
        (
            answer(429, error_body(8, "Slow down."), {"retry-after": "7"}),
            RetryLater("rate_limited", "HTTP 429, code 8: Slow down.", 7.0, False, True),
        ),
        # Pinterest may have accepted the events before the server error.
        (answer(500, error_body(0, "Oops")), retry("unavailable", "HTTP 500, code 0: Oops")),
        (answer(502, b"<html>Bad Gateway</html>"), retry("unavailable", "HTTP 502")),
        (answer(503, headers={"Retry-After": "30"}), retry("unavailable", "HTTP 503", after=30.0)),
        (answer(504), retry("unavailable", "HTTP 504")),
        # A switched-off endpoint accepted nothing, and needs a long wait.
        (
            answer(503, error_body(4197, "This endpoint is off.")),
            retry("switched_off", "HTTP 503, code 4197: This endpoint is off.", after=900.0, known=True),
        ),
        (
            answer(503, error_body(4197, "Off."), {"Retry-After": "1800"}),
            retry("switched_off", "HTTP 503, code 4197: Off.", after=1800.0, known=True),
        ),
        # Pinterest knows when it is back.
        (
            answer(503, error_body(4197, "Off."), {"Retry-After": "8"}),
            retry("switched_off", "HTTP 503, code 4197: Off.", after=8.0, known=True),
        ),
        # The code without the status is not enough.
        (answer(500, error_body(4197, "Odd.")), retry("unavailable", "HTTP 500, code 4197: Odd.")),
        (answer(500, error_body(2, "Odd.")), retry("unavailable", "HTTP 500, code 2: Odd.")),
        # A list in a server error is ignored.
        (answer(500, listing(PROCESSED)), retry("unavailable", "HTTP 500")),
        # Redirects are not followed; after some of them the request may have been processed.
        (answer(307), retry("unexpected", "HTTP 307", known=True)),
        (answer(303), retry("unexpected", "HTTP 303")),
        (answer(103), retry("unexpected", "HTTP 103")),
        (answer(999), retry("unexpected", "HTTP 999")),
    ],
)
def test_a_status_decides(given: Answer, expected: BatchDecision) -> None:
    """``if response:`` is false for every 4xx and 5xx in requests; each status has its own row here."""
    assert decide_batch(given, 1) == expected


@given(
    st.none() | st.integers(100, 999),
    st.binary(max_size=60) | st.recursive(st.none() | st.text(), st.lists, max_leaves=5).map(json.dumps),
    st.dictionaries(st.sampled_from(["Retry-After", "X-RateLimit-Reset", "Date"]), st.text()),
    st.none() | st.sampled_from(SendFailure),
    st.integers(1, 3),
)
def test_every_answer_leads_to_a_decision(
    status: int | None, body: bytes | str, headers: dict[str, str], failure: SendFailure | None, events: int
) -> None:
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    decision = decide_batch(Answer(status, headers, raw, failure, 0.0, ""), events)

    assert isinstance(decision, Settle | Halve | RetryLater | PauseCredential | Unreadable)


@pytest.mark.parametrize(("headers", "expected"), [({"Retry-After": "7"}, 7.0), ({}, 5.0)])
def test_a_429_waits_as_requested_and_counts_no_attempt(headers: dict[str, str], expected: float) -> None:
    assert decide_batch(answer(429, headers=headers), 1) == RetryLater(
        "rate_limited", "HTTP 429", expected, False, True
    )


# Event by event


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        # The documented example.
        (
            {
                "num_events_received": 1,
                "num_events_processed": 1,
                "events": [{"status": "processed", "error_message": ""}],
            },
            (DELIVERED,),
        ),
        # A 200 with failed entries is not a success of all events.
        (listing(PROCESSED, REFUSED, PROCESSED), (DELIVERED, REFUSED_RESULT, DELIVERED)),
        # A delivered event may have a warning.
        (
            listing({"status": "processed", "warning_message": "currency is missing"}),
            (EventResult(True, warning="currency is missing"),),
        ),
        # Absent and null messages are ignored.
        (
            listing({"status": "failed", "error_message": None, "warning_message": None}),
            (EventResult(False, "refused", "Pinterest gave no reason"),),
        ),
        # The status decides, not the error next to it.
        (
            listing({"status": "processed", "error_message": "late", "warning_message": "odd"}),
            (EventResult(True, warning="odd; late"),),
        ),
        # The list decides if the counts disagree with it.
        (listing(PROCESSED, REFUSED, num_events_processed=2), (DELIVERED, REFUSED_RESULT)),
        (listing(PROCESSED, num_events_received=7), (DELIVERED,)),
        ({"events": [PROCESSED]}, (DELIVERED,)),
        # Case does not matter.
        (listing({"status": " Processed"}), (DELIVERED,)),
        # An unreadable entry does not affect the others.
        (
            listing(PROCESSED, {"status": "queued", "error_message": "later"}),
            (
                DELIVERED,
                EventResult(False, "unreadable", "Pinterest gave an unknown status, 'queued': later"),
            ),
        ),
        (
            listing(PROCESSED, None),
            (DELIVERED, EventResult(False, "unreadable", "Pinterest gave an unknown status, ''")),
        ),
    ],
)
def test_a_list_settles_event_by_event(document: object, expected: tuple[EventResult, ...]) -> None:
    assert decide_batch(answer(200, document), len(expected)) == Settle(expected)


@pytest.mark.parametrize(
    ("body", "sent", "reason"),
    [
        # A list of the wrong length settles no event.
        (listing(PROCESSED), 2, "HTTP 200, but the answer lists a wrong number of events: 1, not 2"),
        (
            listing(PROCESSED, PROCESSED),
            1,
            "HTTP 200, but the answer lists a wrong number of events: 2, not 1",
        ),
        ({"events": []}, 1, "HTTP 200, but the answer lists a wrong number of events: 0, not 1"),
        # No list, no object, no JSON.
        ({"events": {"0": PROCESSED}}, 1, "HTTP 200, but the answer has no list of events"),
        ([PROCESSED], 1, "HTTP 200, but the answer has no list of events"),
        (b"OK", 1, "HTTP 200, but the answer is not JSON"),
        (b"", 1, "HTTP 200, but the answer is not JSON"),
        (b"\xff\xfe", 1, "HTTP 200, but the answer is not JSON"),
        (b"[" * 100_000, 1, "HTTP 200, but the answer is not JSON"),
        # Only unknown statuses.
        (listing({"status": "queued"}), 1, "HTTP 200, but the answer has only the statuses 'queued'"),
        (listing("processed"), 1, "HTTP 200, but the answer has only the statuses ''"),
    ],
)
def test_an_unreadable_answer_is_tried_once_more_and_then_failed(
    body: object, sent: int, reason: str
) -> None:
    given = answer(200, body)

    assert decide_batch(given, sent) == Unreadable(reason)
    assert decide_batch(given, sent, unreadable_tries=1) == Settle(
        (EventResult(False, "unreadable", reason),) * sent
    )


def test_a_body_that_cannot_be_read_has_a_reason() -> None:
    given = answer(200, detail="the answer is larger than 4194304 bytes")

    assert decide_batch(given, 1) == Unreadable("HTTP 200, but the answer is larger than [number] bytes")


@pytest.mark.parametrize("status", [201, 202, 204])
def test_any_success_is_settled_by_its_list_alone(status: int) -> None:
    assert decide_batch(answer(status, listing(REFUSED)), 1) == Settle((REFUSED_RESULT,))
    assert decide_batch(answer(status), 1) == Unreadable(f"HTTP {status}, but the answer is not JSON")


@pytest.mark.parametrize(
    "document",
    [
        # The format of the details is not documented: the list decides, wherever it is.
        {"events": [PROCESSED, REFUSED]},
        error_body(1, "Some failed", details=[PROCESSED, REFUSED]),
        error_body(1, "Some failed", details={"events": [PROCESSED, REFUSED]}),
        error_body(1, "Some failed", details=json.dumps([PROCESSED, REFUSED])),
        error_body(1, "Some failed", details=json.dumps({"events": [PROCESSED, REFUSED]})),
        error_body(1, "Some failed", details={"details": json.dumps({"events": [PROCESSED, REFUSED]})}),
        [PROCESSED, REFUSED],
        # A first list of the wrong length does not hide the second.
        {"events": [REFUSED], "details": [PROCESSED, REFUSED]},
    ],
)
def test_a_422_with_a_usable_list_settles_by_it(document: object) -> None:
    """A 422 lists results in request order; one status for all events would send accepted ones again."""
    assert decide_batch(answer(422, document), 2) == Settle((DELIVERED, REFUSED_RESULT))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (error_body(1, "Some failed"), "HTTP 422, code 1: Some failed"),
        (error_body(1, "Some failed", details=[REFUSED]), "HTTP 422, code 1: Some failed"),
        (error_body(1, "Some failed", details={"0": REFUSED, "1": REFUSED}), "HTTP 422, code 1: Some failed"),
        (error_body(1, "Some failed", details=["em", "ph"]), "HTTP 422, code 1: Some failed"),
        ({"code": 1, "details": "em is bad"}, "HTTP 422, code 1: em is bad"),
        # Nested too deeply.
        (error_body(1, "Deep", details={"details": {"details": {"details": {"details": [REFUSED]}}}}), None),
        (b"", "HTTP 422"),
    ],
)
def test_a_422_without_a_usable_list_is_halved(document: object, reason: str | None) -> None:
    decision = decide_batch(answer(422, document), 2)

    assert decision == Halve("malformed", reason or "HTTP 422, code 1: Deep", outcome_known=False)


def test_the_last_event_of_a_refused_batch_fails_with_its_message() -> None:
    decision = decide_batch(answer(400, error_body(1, "currency is bad")), 1)

    assert isinstance(decision, Halve)
    expected = EventResult(False, ReasonClass.MALFORMED, "HTTP 400, code 1: currency is bad")
    assert fail_single(decision) == Settle((expected,))


words = st.sampled_from(["processed", "failed", "FAILED", "queued", ""])
entries = st.fixed_dictionaries(
    {"status": words}, optional={"error_message": st.text(max_size=9) | st.none()}
)


@given(st.lists(entries | st.none() | st.integers(), min_size=1, max_size=30), st.sampled_from([200, 422]))
def test_every_event_is_settled_once_by_its_position(events: list[Any], status: int) -> None:
    decision = decide_batch(answer(status, listing(*events)), len(events))

    statuses = [event["status"].lower() if isinstance(event, dict) else "" for event in events]
    if not {"processed", "failed"} & set(statuses):
        assert isinstance(decision, Unreadable | Halve)
        return
    assert isinstance(decision, Settle)
    assert [result.delivered for result in decision.results] == [word == "processed" for word in statuses]
    assert all(result.reason for result in decision.results if not result.delivered)


@given(
    st.lists(entries, max_size=9), st.integers(1, 9), st.sampled_from([200, 422]), st.sampled_from([0, 1, 5])
)
def test_a_list_of_the_wrong_length_delivers_nothing(
    events: list[Any], sent: int, status: int, tries: int
) -> None:
    if len(events) == sent:
        events = [*events, PROCESSED]

    decision = decide_batch(answer(status, listing(*events)), sent, unreadable_tries=tries)

    if isinstance(decision, Settle):
        assert [result.delivered for result in decision.results] == [False] * sent
        assert {result.reason_class for result in decision.results} == {"unreadable"}
    else:
        assert isinstance(decision, Unreadable | Halve)


# Halving


def deliver(batch: range, is_bad: Callable[[int], bool]) -> tuple[int, list[int]]:
    """Send to a Pinterest that refuses each batch with a bad event; return the requests and the failed events."""
    status = 400 if any(map(is_bad, batch)) else 200
    decision = decide_batch(answer(status, listing(*[PROCESSED] * len(batch))), len(batch))
    if isinstance(decision, Settle):
        return 1, []
    if len(batch) == 1:
        return 1, list(batch)
    parts = [deliver(part, is_bad) for part in (batch[: len(batch) // 2], batch[len(batch) // 2 :])]
    return 1 + sum(part[0] for part in parts), [event for part in parts for event in part[1]]


def most_requests(events: int, bad: int) -> int:
    levels = math.ceil(math.log2(events))
    full = math.ceil(math.log2(bad))
    return 1 + 2 * (2**full - 1 + bad * (levels - full))


def test_three_bad_events_among_a_thousand_cost_at_most_55_requests() -> None:
    """One unknown key is a 400 for the whole request; the 999 good events must still be delivered."""
    worst = {249, 499, 999}

    requests, failed = deliver(range(1000), worst.__contains__)

    assert (requests, failed, most_requests(1000, 3)) == (55, sorted(worst), 55)


@given(
    st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1)))
)
def test_halving_finds_exactly_the_bad_events_within_its_limit(case: tuple[int, set[int]]) -> None:
    events, bad = case

    requests, failed = deliver(range(events), bad.__contains__)

    assert failed == sorted(bad)
    assert requests <= most_requests(events, len(bad))


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (["HTTP 400, code 2: Not your account", "HTTP 400, code 2: Not your account"], True),
        # Numbers and case do not count.
        (["events 0 to 3 are bad", "Events 4 to 9 are bad"], True),
        (["em is bad", "ph is bad"], False),
        (["em is bad", "em is bad", "ph is bad"], False),
        # One part alone proves nothing about the account.
        (["em is bad"], False),
        ([], False),
        # Empty messages do not count as equal.
        (["", ""], False),
    ],
)
def test_the_same_message_for_every_part_is_the_accounts_fault(reasons: list[str], expected: bool) -> None:
    assert have_same_message(reasons) is expected


@pytest.mark.parametrize("field", ["app_info", "device_info", "item_brand_id"])
def test_a_refused_newer_field_is_named_with_its_version_and_the_setting(field: str) -> None:
    refusal = answer(400, error_body(4196, f"data[0] has an unknown field '{field}' (version 5.23)"))

    reason = repr(decide_batch(refusal, 1))

    assert (
        f"{field} is part of Pinterest's API since 5.28: set schema_version to 5.23 to leave it out" in reason
    )


def test_every_reason_is_masked() -> None:
    secret = "john@example.com"
    bad = {"status": "failed", "error_message": secret, "warning_message": secret}
    odd = {"status": secret}
    answers = [
        *(
            answer(status, error_body(1, secret))
            for status in (302, 400, 401, 408, 413, 418, 422, 429, 500, 503)
        ),
        *(answer(status, listing(bad, odd)) for status in (200, 422)),
        answer(200, listing(odd, odd)),
        answer(503, error_body(4197, secret)),
        *(answer(None, failure=failure, detail=secret) for failure in SendFailure),
    ]

    assert [repr(decide_batch(given, 2)) for given in answers if secret in repr(decide_batch(given, 2))] == []


def test_a_large_answer_is_decided_quickly() -> None:
    """A thousand refusals, with a sentence each, take far less time than the request."""
    refused = {"status": "failed", "error_message": "event_time 1706540000 is too old"}
    given = answer(200, listing(*[refused] * 1000))

    started = time.thread_time()
    decide_batch(given, 1000)

    assert time.thread_time() - started < 0.5
