"""Values of the request that Pinterest echoes are masked; Pinterest's own words remain."""

import json
import re
import time
from hashlib import sha256
from typing import Any

import pytest

from worker.pinterest.client.answer_decisions import Halve, PauseCredential, Settle, decide_batch
from worker.pinterest.client.answer_masking import Echo
from worker.pinterest.client.client import Answer


def hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


EVENT = {
    "event_name": "checkout",
    "action_source": "web",
    "event_id": "order-ORD-002",
    "event_source_url": "https://shop.example.com/thanks/Jane-Doe",
    "user_data": {"em": [hashed("jane@example.com")], "fn": [hashed("jane")], "ln": [hashed("müller")]},
    "custom_data": {
        "order_id": "ORD-002",
        "value": "129.99",
        "currency": "EUR",
        "search_string": "Zoë Brontë",
        "contents": [{"item_name": "Gift for Kim Possible", "quantity": 1, "id": "4711"}],
    },
}


def body(*events: Any) -> bytes:
    return json.dumps({"data": list(events or (EVENT,))}, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        # Nothing of the request: as it is.
        ("Event is missing required field: user_data.em", "Event is missing required field: user_data.em"),
        ("value must be a string, not a number", "value must be a string, not a number"),
        ("Invalid currency EUR for checkout", "Invalid currency EUR for checkout"),
        ("Invalid order_id 'ORD-002'.", "Invalid order_id '[sent]'."),
        ("Invalid order_id: ord-002!", "Invalid order_id: [sent]!"),
        ("order-ORD-002 was seen before", "[sent] was seen before"),
        ("Unknown product 4711", "Unknown product [sent]"),
        ("search_string 'Zoë Brontë' is refused", "search_string '[sent]' is refused"),
        ("search_string 'ZOË' is refused", "search_string '[sent]' is refused"),
        ('{"item_name":"Gift for Kim Possible"}', '{"item_name":"[sent] for [sent]"}'),
        ("Bad content: Possible, Kim", "Bad content: [sent]"),
        ("Bad page /thanks/Jane-Doe", "Bad page /[sent]/[sent]"),
        # What was sent as a hash only.
        ("first name Jane is not allowed", "first name [sent] is not allowed"),
        ("last name MÜLLER is not allowed", "last name [sent] is not allowed"),
        # What Pinterest cut off.
        ("Bad content 'Gift for Kim Poss…'", "Bad content '[sent] for [sent]...'"),
        ("Bad content 'Gift for Kim Poss...'", "Bad content '[sent] for [sent]...'"),
        # Full-width letters are the same letters.
        ("Bad content: \uff2b\uff49\uff4d", "Bad content: [sent]"),
        ("", ""),
    ],
)
def test_what_was_sent_is_masked(said: str, kept: str) -> None:
    masked = Echo(body()).mask(said)
    assert masked == kept


def test_an_escaped_request_is_read_as_well() -> None:
    escaped = json.dumps({"data": [{"custom_data": {"np": "Jürgen"}}]}).encode()
    assert b"\\u" in escaped
    assert Echo(escaped).mask("np Jürgen is refused") == "np [sent] is refused"
    # No other word of the text is in the request.
    assert Echo(escaped).mask("Jürgen is refused") == "[sent] is refused"


def test_without_a_request_words_stay() -> None:
    assert Echo(b"").mask("Jane") == "Jane"
    assert Echo(b"no JSON").mask("Jane json") == "Jane json"


def answer(status: int, document: Any) -> Answer:
    return Answer(status, {}, json.dumps(document).encode(), None, 0.1)


def test_no_verdict_repeats_what_was_sent() -> None:
    sent = Echo(body(EVENT, EVENT))
    events = [
        {"status": "failed", "error_message": "Kim is unknown"},
        {"status": "processed", "warning_message": "Zoë is unknown", "error_message": ""},
    ]
    settled = decide_batch(answer(200, {"events": events}), 2, sent=sent)
    assert isinstance(settled, Settle)
    assert [one.reason or one.warning for one in settled.results] == ["[sent] is unknown"] * 2
    halved = decide_batch(answer(400, {"message": "Kim is unknown"}), 2, sent=sent)
    assert isinstance(halved, Halve)
    assert halved.reason == "HTTP 400: [sent] is unknown"
    paused = decide_batch(answer(403, {"code": 29, "message": "Kim has no access"}), 2, sent=sent)
    assert isinstance(paused, PauseCredential)
    assert paused.reason == "HTTP 403, code 29: [sent] has no access"


@pytest.mark.parametrize(
    "address", ["kim.vogel@example.com", "kim.vogel@mail.example.com", "example.kim@vogel.net"]
)
def test_an_address_is_masked_whole_where_the_request_has_a_part_of_it(address: str) -> None:
    sent = Echo(body({"event_source_url": "https://shop.example.com/mail"}))
    document = {"events": [{"status": "failed", "error_message": f"user {address} is unknown"}]}
    decision = decide_batch(answer(200, document), 1, sent=sent)
    assert isinstance(decision, Settle)
    assert not {"kim", "vogel"} & set(re.findall(r"\w+", repr(decision)))


def test_an_event_cannot_blind_the_status_of_others() -> None:
    """A value that is called like a status is masked in words only."""
    blinding = EVENT | {"event_id": "processed failed"}
    sent = Echo(body(blinding, EVENT))
    events = [{"status": "failed", "error_message": "processed"}, {"status": "processed"}]
    settled = decide_batch(answer(200, {"events": events}), 2, sent=sent)
    assert isinstance(settled, Settle)
    assert [one.delivered for one in settled.results] == [False, True]


def test_a_thousand_warnings_that_repeat_nothing_cost_little() -> None:
    sent = Echo(body(*(EVENT | {"event_id": f"e{number}"} for number in range(1_000))))
    began = time.process_time()
    for _ in range(1_000):
        sent.mask("We recommend to include click_id for better attribution of this event.")
    assert time.process_time() - began < 3
