"""Build and read Celery's task messages."""

import json
from base64 import b64decode
from collections.abc import Container
from types import SimpleNamespace
from typing import Any

import orjson
from amqp import spec
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from celery.utils.nodenames import anon_nodename
from kombu.message import Message
from kombu.utils.uuid import uuid

_EMBED = json.dumps({"callbacks": None, "errbacks": None, "chain": None, "chord": None})


class TaskMessageBuilder:
    """Build Celery messages (protocol 2) for one task, without the ``saferepr`` of ``apply_async``.

    Arguments must be numbers and public texts: Flower and logs show them.
    """

    def __init__(self, task: str) -> None:
        self._headers = {
            "lang": "py",
            "task": task,
            "parent_id": None,
            "group": None,
            "kwargsrepr": "{}",
            "origin": anon_nodename(),
            "retries": 0,
        }

    def publish_options(
        self, args: tuple[Any, ...], argsrepr: str | None = None, task_id: str | None = None
    ) -> dict[str, Any]:
        """Return body, headers and properties for ``prepare_message``."""
        task_id = task_id or uuid()
        return {
            "body": f"[{json.dumps(args)}, {{}}, {_EMBED}]".encode(),
            "headers": {
                **self._headers,
                "id": task_id,
                "root_id": task_id,
                "argsrepr": argsrepr or repr(args),
            },
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "properties": {"correlation_id": task_id, "reply_to": "", "delivery_mode": 2},
        }


# A message with one of these is not a plain hint and gets its own run.
_OWN_RUN_HEADERS = ("eta", "expires", "retries", "group", "shadow", "stamped_headers", "compression")


def parse_ids(argument: object) -> list[int]:
    """Return the ids in a message's argument without duplicates.

    Raises:
        TypeError: the argument is neither an integer nor a list of integers.
    """
    ids = argument if isinstance(argument, list | tuple) else [argument]
    for id_ in ids:
        if not isinstance(id_, int) or isinstance(id_, bool):
            raise TypeError(f"neither an id nor a list of ids: {type(argument).__name__}")
    return list(dict.fromkeys(ids))


def ids_in_message(message: Message, revoked: Container[str]) -> list[int] | None:
    """Return the ids in a message, or None if it needs its own run."""
    headers: Any = message.headers
    return None if _is_more_than_a_hint(headers, revoked) else _ids_of(message.payload)


def ids_in_stored_text(text: bytes, task: str, revoked: Container[str]) -> list[int] | None:
    """Return the ids in a message as stored in Redis or Valkey; None if it is not a plain hint for this task.

    kombu and Celery then run the message, or report it.
    """
    try:
        message = orjson.loads(text)
        headers = message["headers"]
        properties = (headers["task"], message["content-type"], message["properties"]["body_encoding"])
        if properties != (task, "application/json", "base64") or _is_more_than_a_hint(headers, revoked):
            return None
        return _ids_of(orjson.loads(b64decode(message["body"], validate=True)))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _is_more_than_a_hint(headers: dict[str, Any], revoked: Container[str]) -> bool:
    if any(headers.get(name) for name in _OWN_RUN_HEADERS) or any(headers.get("timelimit") or ()):
        return True
    return headers.get("id") in revoked


def _ids_of(payload: Any) -> list[int] | None:
    if not isinstance(payload, list | tuple):
        return None
    args, kwargs, embed = payload
    if len(args) != 1 or kwargs or any((embed or {}).values()):
        return None
    try:
        return parse_ids(args[0])
    except TypeError:
        return None


# Placeholders in a template; neither occurs in a task's or host's name.
_TASK_ID = b"?" * 36
_DIGIT = b"~"
_TIMES_TASK_ID, _TIMES_NUMBER = 3, 2
# The arguments of ``basic_publish``: reserved, exchange, queue, mandatory, immediate.
_PUBLISH_ARGUMENTS = "Bssbb"


class HintFrames:
    """Encode the AMQP frames that publish one message per id, mandatory, to the default exchange.

    Encoding headers and properties takes py-amqp five times as long as the rest of publishing. They differ only
    in the task's id and the number, so one template per number of digits is encoded once.
    """

    def __init__(self, channel: Any, queue: str, messages: TaskMessageBuilder) -> None:
        self._channel, self._queue, self.messages = channel, queue, messages
        self._templates: dict[int, bytes] = {}

    def of(self, id_: int) -> bytes:
        """Return the method, header and body frames of one message."""
        number = b"%d" % id_
        digits = len(number)
        template = self._templates.get(digits)
        if template is None:
            template = self._templates[digits] = self._template(digits)
        return template.replace(_TASK_ID, uuid().encode()).replace(_DIGIT * digits, number)

    def _template(self, digits: int) -> bytes:
        mark = (_DIGIT * digits).decode()
        options = self.messages.publish_options((0,), f"({mark},)", _TASK_ID.decode())
        options["body"] = options["body"].replace(b"[[0]", f"[[{mark}]".encode(), 1)
        template = self._frames(self._channel.prepare_message(**options))
        if (template.count(_TASK_ID), template.count(mark.encode())) != (_TIMES_TASK_ID, _TIMES_NUMBER):
            raise ValueError(f"the frames of a message of {self._queue} are not what they were")
        return template

    def _frames(self, message: Any) -> bytes:
        buffer = bytearray()
        transport = SimpleNamespace(write=buffer.extend)
        connection = SimpleNamespace(frame_max=self._channel.connection.frame_max, bytes_sent=0)
        arguments = dumps(_PUBLISH_ARGUMENTS, (0, "", self._queue, True, False))
        frame_writer(connection, transport)(
            1, self._channel.channel_id, spec.Basic.Publish, arguments, message
        )
        return bytes(buffer)
