"""Write hints for RabbitMQ as frames that are encoded once, in place of the same headers for each message."""

from types import SimpleNamespace
from typing import Any

from amqp import spec
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from kombu.utils.uuid import uuid

from worker.engine.messages import TaskMessages

# Stand in a template where each message has its own: neither occurs in a task's or a host's name.
_TASK_ID = b"?" * 36
_DIGIT = b"~"
_TIMES_TASK_ID, _TIMES_NUMBER = 3, 2
# What ``basic_publish`` sends: a reserved number, exchange, queue, mandatory, immediate.
_PUBLISH_ARGUMENTS = "Bssbb"


class HintFrames:
    """Make the bytes that publish one message per id, mandatory and to the default exchange.

    A message's headers and properties take py-amqp five times as long to encode as all the rest of publishing
    it. They are alike but for the task's id and the number, so that each length of number is encoded once.
    """

    def __init__(self, channel: Any, queue: str, messages: TaskMessages) -> None:
        self._channel, self._queue, self.messages = channel, queue, messages
        self._templates: dict[int, bytes] = {}

    def of(self, id_: int) -> bytes:
        """Return the frames of one message: method, header and body."""
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
        written = bytearray()
        transport = SimpleNamespace(write=written.extend)
        connection = SimpleNamespace(frame_max=self._channel.connection.frame_max, bytes_sent=0)
        arguments = dumps(_PUBLISH_ARGUMENTS, (0, "", self._queue, True, False))
        frame_writer(connection, transport)(
            1, self._channel.channel_id, spec.Basic.Publish, arguments, message
        )
        return bytes(written)
