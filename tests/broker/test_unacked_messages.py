"""Many messages are acknowledged with one command, and none that is not to be."""

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection
from kombu.message import Message

from tests.broker.harness import Broker
from worker.broker.bulk import UnackedMessages
from worker.broker.publisher import publish_many


class Channel:
    """The broker's side: the messages that it still holds, and the number of acknowledging commands."""

    no_ack_consumers = None

    def __init__(self, count: int) -> None:
        self.connection: Any = self
        self.held = dict.fromkeys(range(1, count + 1))
        self.commands = 0

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        self.commands += 1
        assert tag in self.held, "acknowledged twice"
        for other in [one for one in self.held if one <= tag] if multiple else [tag]:
            del self.held[other]

    def basic_reject(self, tag: int, requeue: bool) -> None:
        del self.held[tag]


def handed_over(count: int) -> tuple[Channel, UnackedMessages, list[Message]]:
    channel, unacked = Channel(count), UnackedMessages()
    messages = [Message(channel=channel, delivery_tag=tag) for tag in range(1, count + 1)]
    for message in messages:
        unacked.note(message)
    return channel, unacked, messages


@pytest.mark.parametrize(
    ("bulks", "commands"),
    [
        ([(0, 500), (500, 1_000)], 2),
        # Messages that end before an earlier one are acknowledged singly. The earlier one must not repeat that.
        ([(500, 510), (0, 500), (510, 1_000)], 12),
    ],
)
def test_a_bulk_takes_one_command_where_nothing_before_it_waits(
    bulks: list[tuple[int, int]], commands: int
) -> None:
    channel, unacked, messages = handed_over(1_000)
    for first, end in bulks:
        unacked.ack(messages[first:end])
    assert (channel.held, channel.commands) == ({}, commands)


def test_what_another_task_still_works_on_stays_held() -> None:
    channel, unacked, messages = handed_over(10)
    unacked.ack([one for one in messages if one.delivery_tag != 4])
    assert list(channel.held) == [4]
    messages[3].reject()
    more = Message(channel=channel, delivery_tag=11)
    channel.held[11] = None
    unacked.note(more)
    unacked.ack([more])
    assert channel.held == {}


@pytest.mark.parametrize("seed", range(20))
def test_in_whatever_order_work_ends_only_that_is_acknowledged(seed: int) -> None:
    dice = random.Random(seed)
    channel, unacked, messages = handed_over(300)
    dice.shuffle(messages)
    waiting = {one.delivery_tag for one in messages}
    while messages:
        size = dice.randrange(1, 40)
        bulk, messages = messages[:size], messages[size:]
        if dice.random() < 0.2:
            for one in bulk:
                one.reject()
        else:
            unacked.ack(sorted(bulk, key=lambda one: one.delivery_tag))
        waiting -= {one.delivery_tag for one in bulk}
        assert set(channel.held) == waiting


def test_a_message_that_waits_for_long_does_not_make_the_others_be_kept() -> None:
    _, unacked, messages = handed_over(9_000)
    for start in range(1, 9_000, 100):
        unacked.ack(messages[start : start + 100])
    channel = messages[0].channel
    for tag in range(9_001, 40_000):
        message = Message(channel=channel, delivery_tag=tag)
        channel.held[tag] = None
        unacked.note(message)
        unacked.ack([message])
    (kept,) = unacked._by_channel.values()
    assert len(kept) <= 10_000
    assert list(channel.held) == [1]


def test_channels_that_were_closed_are_forgotten() -> None:
    channel, unacked, messages = handed_over(3)
    channel.connection = None
    other = Message(channel=Channel(1), delivery_tag=1)
    unacked.note(other)
    assert list(unacked._by_channel) == [other.channel]
    assert messages


@pytest.fixture
def delivered(rabbitmq: Broker) -> Iterator[list[Message]]:
    """Return 100 messages that RabbitMQ handed over to one channel."""
    publish_many(rabbitmq.app(), "sample.gather", [(number,) for number in range(100)], rabbitmq.queue)
    messages: list[Message] = []
    with Connection(rabbitmq.url) as connection:
        queue = rabbitmq.app().amqp.queues[rabbitmq.queue]
        options = SimpleNamespace(on_message=messages.append, prefetch_count=100)
        with connection.Consumer([queue], **vars(options)):
            while len(messages) < 100:
                connection.drain_events(timeout=10)
            yield messages


def test_rabbitmq_hands_out_anew_what_was_not_acknowledged(
    rabbitmq: Broker, delivered: list[Message]
) -> None:
    unacked = UnackedMessages()
    for message in delivered:
        unacked.note(message)
    unacked.ack(delivered[:40])
    unacked.ack(delivered[60:80])
    delivered[0].channel.connection.collect()
    left: list[int] = []
    with Connection(rabbitmq.url) as connection:
        queue = rabbitmq.app().amqp.queues[rabbitmq.queue](connection.default_channel)
        while len(left) < 40:
            message = queue.get()
            if message is not None:
                left.append(message.payload[0][0])
                message.ack()
        assert queue.get() is None
    assert sorted(left) == [*range(40, 60), *range(80, 100)]
