"""Acknowledge many messages of RabbitMQ with one command."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from kombu.message import Message

# Beyond this many, acknowledged messages are removed; a message with a countdown holds up all after it.
_MANY = 10_000


class HintRun:
    """Stand for messages of RabbitMQ that arrived one after the other, of which only the tags are known."""

    def __init__(self, channel: Any, first_tag: int, count: int) -> None:
        self.channel = channel
        self.delivery_tag = first_tag + count - 1
        self.acknowledged = False
        self.count = count
        self._first_tag = first_tag

    def ack(self, multiple: bool = False) -> None:
        """Acknowledge all of them; with ``multiple`` also all messages before them."""
        if multiple:
            self.channel.basic_ack(self.delivery_tag, multiple=True)
        else:
            self._each(self.channel.basic_ack)
        self.acknowledged = True

    def reject(self) -> None:
        """Reject all of them for good."""
        self._each(partial(self.channel.basic_reject, requeue=False))
        self.acknowledged = True

    def requeue(self) -> None:
        """Give all of them back to the queue."""
        self._each(partial(self.channel.basic_reject, requeue=True))
        self.acknowledged = True

    def _each(self, settle: Callable[[int], None]) -> None:
        for tag in range(self._first_tag, self.delivery_tag + 1):
            settle(tag)


class UnackedMessages:
    """Track the unacknowledged messages of each channel in order of arrival.

    RabbitMQ accepts an acknowledgement of "this message and all before it", at a sixth of the cost of single ones.
    It is allowed only if all earlier messages, of any task, are to be acknowledged too. So every message of a
    channel must be noted on arrival. Redis and Valkey have no such acknowledgement.
    """

    def __init__(self) -> None:
        self._by_channel: dict[Any, deque[Message | HintRun]] = {}
        self._bound = _MANY

    def note(self, message: Message | HintRun) -> None:
        """Add a message that has just arrived."""
        waiting = self._by_channel.get(message.channel)
        if waiting is None:
            self._forget_closed_channels()
            waiting = self._by_channel[message.channel] = deque()
        waiting.append(message)
        if len(waiting) > self._bound:
            left = [message for message in waiting if not message.acknowledged]
            waiting.clear()
            waiting.extend(left)
            self._bound = max(_MANY, 2 * len(left))

    def ack(self, messages: Sequence[Message | HintRun]) -> None:
        """Acknowledge messages of one channel: the oldest without gaps together, the rest one by one."""
        left = {message.delivery_tag for message in messages}
        waiting = self._by_channel.get(messages[0].channel) or deque()
        last: Message | HintRun | None = None
        while waiting and (waiting[0].delivery_tag in left or waiting[0].acknowledged):
            first = waiting.popleft()
            if first.delivery_tag in left:
                left.discard(first.delivery_tag)
                last = first
        if last is not None:
            last.ack(multiple=True)
        for message in messages:
            if message.delivery_tag in left:
                message.ack()

    def _forget_closed_channels(self) -> None:
        closed = [channel for channel in self._by_channel if channel.connection is None]
        for channel in closed:
            del self._by_channel[channel]
