"""The patches of kombu's Redis transport, with real brokers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.transport.redis import Channel, get_redis_ConnectionError

from tests.broker.harness import Broker, Worker, running, wait_until
from worker.broker.kombu_internals import (
    _UNREADABLE_KEPT,
    _unreadable_key,
    park_unreadable,
    patch_redis_transport,
)
from worker.broker.publisher import publish_many

NO_MESSAGES = ["no message", "", b"\xff", "7", "[]", "{}", '{"properties": {}}', '{"properties": null}']


def test_a_channel_of_a_closed_connection_says_so() -> None:
    patch_redis_transport()
    patch_redis_transport()  # A second call changes nothing.
    channel: Any = Channel.__new__(Channel)
    for connection in (None, SimpleNamespace(client=None)):
        channel.connection = connection
        with pytest.raises(get_redis_ConnectionError()):
            channel._connparams()
        with pytest.raises(AttributeError):
            Channel._connparams.__wrapped__(channel)  # What kombu does by itself.


@pytest.mark.parametrize("no_ack", ["0", "1"])
def test_what_is_no_message_is_put_aside_and_ends_nothing(
    valkey: Broker, no_ack: str, tmp_path: Path
) -> None:
    """kombu takes it out of the queue, and the worker exits."""
    with valkey.app().connection_for_write() as connection:
        client = connection.default_channel.client
        client.lpush(valkey.queue, *NO_MESSAGES)
        publish_many(valkey.app(), "sample.gather", [(1,)], valkey.queue)
        client.lpush(valkey.queue, *NO_MESSAGES)
        publish_many(valkey.app(), "sample.gather", [(2,)], valkey.queue)
        with running(Worker(valkey, tmp_path, "-P", "threads", "-c", "1", SAMPLE_NO_ACK=no_ack)) as worker:
            assert wait_until(lambda: sorted(worker.ids()) == [1, 2]), worker.log()
            assert worker.stop() == 0
        kept = client.lrange(_unreadable_key(valkey.queue), 0, -1)
    assert 2 * len(NO_MESSAGES) == len(kept)
    assert kept.count(b"no message") == 2
    assert worker.log().count("message_unreadable") == 2 * len(NO_MESSAGES)


def test_what_is_put_aside_is_bounded(valkey: Broker) -> None:
    with valkey.app().connection_for_write() as connection:
        channel: Any = connection.default_channel
        for number in range(_UNREADABLE_KEPT + 5):
            park_unreadable(channel, valkey.queue, str(number))
        kept = channel.client.lrange(_unreadable_key(valkey.queue), 0, -1)
    assert [str(number).encode() for number in range(_UNREADABLE_KEPT + 4, 4, -1)] == kept
