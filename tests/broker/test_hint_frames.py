"""Frames from a template are the same as py-amqp's, and the broker accepts them."""

from types import SimpleNamespace
from typing import Any

import pytest
from amqp.method_framing import frame_writer
from kombu import Connection

from tests.broker.harness import Broker
from worker.broker.messages import HintFrames, TaskMessageBuilder
from worker.broker.publisher import PublishError, _broker_errors, _ConfirmedChannel

TASK_ID = "0f9c7b1e-3a52-4d41-9c55-8a1b2c3d4e5f"


def written_by_amqp(channel: Any, queue: str, options: dict[str, Any]) -> bytes:
    """Let py-amqp publish, and return what went into its socket."""
    connection, written = channel.connection, bytearray()
    transport = SimpleNamespace(write=written.extend)
    usual, connection.frame_writer = connection.frame_writer, frame_writer(connection, transport)
    try:
        publish: Any = type(channel).basic_publish
        publish(channel, channel.prepare_message(**options), "", queue, mandatory=True)
    finally:
        connection.frame_writer = usual
    return bytes(written)


@pytest.mark.parametrize("id_", [0, 7, 10, 4_711, 2**40])
def test_a_hints_frames_are_those_that_amqp_writes(
    rabbitmq: Broker, id_: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = TaskMessageBuilder("sample.gather")
    with Connection(rabbitmq.url) as connection:
        channel: Any = connection.channel()
        frames = HintFrames(channel, rabbitmq.queue, messages)
        expected = written_by_amqp(channel, rabbitmq.queue, messages.publish_options((id_,), task_id=TASK_ID))
        monkeypatch.setattr("worker.broker.messages.uuid", lambda: TASK_ID)
        assert frames.of(id_) == expected
        assert frames.of(id_) == expected


def test_each_hint_has_a_task_id_of_its_own(rabbitmq: Broker) -> None:
    with Connection(rabbitmq.url) as connection:
        frames = HintFrames(connection.channel(), rabbitmq.queue, TaskMessageBuilder("sample.gather"))
        assert frames.of(1) != frames.of(1)


def test_a_message_that_a_template_does_not_fit_is_not_sent(rabbitmq: Broker) -> None:
    with Connection(rabbitmq.url) as connection:
        frames = HintFrames(connection.channel(), rabbitmq.queue, TaskMessageBuilder("sample.with~tilde"))
        with pytest.raises(ValueError, match="not what they were"):
            frames.of(1)


def test_hints_are_confirmed_and_a_connection_that_broke_is_told(rabbitmq: Broker) -> None:
    messages = TaskMessageBuilder("sample.gather")
    with Connection(rabbitmq.url) as connection:
        connection.connect()
        channel = _ConfirmedChannel(connection, rabbitmq.app().amqp.queues[rabbitmq.queue])
        channel.send_ids(messages, range(1_050))
        assert rabbitmq.depth() == 1_050
        channel.send(messages.publish_options((1,)) for _ in range(3))
        rabbitmq.delete()
        with pytest.raises(PublishError, match=r"refused messages for the queue \S+: 2"):
            channel.send_ids(messages, [1, 2])
        connection.connection.transport.close()
        with pytest.raises(_broker_errors(connection)):
            channel.send_ids(messages, [1])
    with Connection(rabbitmq.url) as anew:
        anew.connect()
        _ConfirmedChannel(anew, rabbitmq.app().amqp.queues[rabbitmq.queue]).send_ids(messages, [1])
