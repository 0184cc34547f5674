"""Acknowledge many messages of RabbitMQ with one command."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from kombu.message import Message

# Beyond this many those that were settled meanwhile are left out; a message that waits for its time holds all up.
_MANY = 10_000


class UnackedMessages:
    """Know, in order of arrival, what each channel handed over and nobody has settled yet.

    RabbitMQ takes "this one and all before it" for an answer, which costs it and the worker a sixth of an answer
    each. It may be said only when all before it are to be acknowledged, whatever task they are for: every
    message of a channel has to be noted as it comes in. Not for Redis and Valkey, which know no such answer.
    """

    def __init__(self) -> None:
        self._by_channel: dict[Any, deque[Message]] = {}
        self._bound = _MANY

    def note(self, message: Message) -> None:
        """Take down a message that came in just now."""
        waiting = self._by_channel.get(message.channel)
        if waiting is None:
            self._forget_closed_channels()
            waiting = self._by_channel[message.channel] = deque()
        waiting.append(message)
        if len(waiting) > self._bound:
            left = [one for one in waiting if not one.acknowledged]
            waiting.clear()
            waiting.extend(left)
            self._bound = max(_MANY, 2 * len(left))

    def ack(self, messages: Sequence[Message]) -> None:
        """Acknowledge messages of one channel: together those before which nothing else waits, the rest one by one."""
        left = {message.delivery_tag for message in messages}
        waiting = self._by_channel.get(messages[0].channel) or deque()
        last: Message | None = None
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
