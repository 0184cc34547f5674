"""Which messages are hints, and which ones Celery handles as usual."""

import json
from base64 import b64encode
from typing import Any

import pytest
from kombu.message import Message

from worker.broker.messages import ids_in_message, ids_in_stored_text, parse_ids


@pytest.mark.parametrize(
    ("argument", "ids"),
    [
        (5, [5]),
        ([5, 6], [5, 6]),
        ([6, 5, 6], [6, 5]),  # In order of arrival, each once.
        ([], []),
    ],
)
def test_as_ids_takes_an_id_or_a_list(argument: object, ids: list[int]) -> None:
    assert ids == parse_ids(argument)


@pytest.mark.parametrize("argument", [None, "5", 5.0, True, ["5"], [[5]], {"id": 5}])
def test_as_ids_refuses_anything_else(argument: object) -> None:
    with pytest.raises(TypeError, match="neither an id nor a list of ids"):
        parse_ids(argument)


def message(
    args: Any = (5,), kwargs: Any = None, embed: dict[str, Any] | None = None, **headers: Any
) -> Message:
    body = json.dumps([args, kwargs or {}, embed or {}])
    return Message(
        body,
        content_type="application/json",
        content_encoding="utf-8",
        headers={"id": "a", "task": "t", **headers},
        accept={"application/json"},
    )


def as_stored(a_message: Message) -> bytes:
    """Write a message as kombu does into Redis and Valkey."""
    stored = {
        "body": b64encode(str(a_message.body).encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": a_message.headers,
        "properties": {"body_encoding": "base64", "delivery_tag": "1", "delivery_info": {}},
    }
    return json.dumps(stored).encode()


@pytest.mark.parametrize(
    ("a_message", "ids"),
    [
        (message(), [5]),
        (message(([5, 6],)), [5, 6]),
        (message(embed={"callbacks": None, "chord": None}), [5]),
        (message(timelimit=[None, None], retries=0, eta=None), [5]),
        (message(eta="2030-01-01T00:00:00+00:00"), None),
        (message(expires="2030-01-01T00:00:00+00:00"), None),
        (message(retries=1), None),
        (message(timelimit=[10, None]), None),
        (message(group="g"), None),
        (message(embed={"callbacks": [{"task": "next"}]}), None),
        (message((5, 6)), None),
        (message(("5",)), None),
        (message(kwargs={"ids": 5}), None),
        (message(id="revoked"), None),
    ],
)
def test_only_plain_hints_are_gathered(a_message: Message, ids: list[int] | None) -> None:
    """The result is the same whether kombu has read the message or Redis still has it."""
    assert ids == ids_in_message(a_message, {"revoked"})
    assert ids == ids_in_stored_text(as_stored(a_message), "t", {"revoked"})


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("headers", {"id": "a", "task": "another"}),
        ("headers", {"id": "a"}),
        ("headers", {"id": "a", "task": "t", "compression": "zlib"}),
        ("headers", None),
        ("content-type", "application/x-python-serialize"),
        ("properties", {"body_encoding": None}),
        ("body", "?"),
        ("body", b64encode(b"[[5], {}]").decode()),
        ("body", b64encode(b"[5, {}, {}]").decode()),
        ("body", b64encode(b"{}").decode()),
        ("body", None),
    ],
)
def test_what_is_no_hint_for_this_task_is_left_to_kombu(change: str, value: Any) -> None:
    stored = {**json.loads(as_stored(message())), change: value}
    assert ids_in_stored_text(json.dumps(stored).encode(), "t", set()) is None


@pytest.mark.parametrize("stored", [b"", b"[]", b"7", b"{}", b"no message", b"\xff"])
def test_what_is_no_message_at_all_is_left_to_kombu(stored: bytes) -> None:
    assert ids_in_stored_text(stored, "t", set()) is None
