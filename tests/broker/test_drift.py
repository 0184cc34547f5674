"""Report upstream changes of code that is overridden or relied on here."""

import hashlib
import inspect
from typing import Any

import amqp
import celery
import kombu
import pytest
from amqp.abstract_channel import AbstractChannel
from amqp.method_framing import frame_handler, frame_writer
from amqp.transport import SSLTransport, TCPTransport, _AbstractTransport
from celery.app.task import Task
from celery.events import EventDispatcher
from celery.worker import loops, strategy
from celery.worker.consumer import Consumer
from celery.worker.consumer.events import Events
from celery.worker.consumer.tasks import Tasks
from celery.worker.request import Request
from celery.worker.worker import WorkController
from kombu.message import Message
from kombu.transport import pyamqp
from kombu.transport.redis import Channel, Transport
from kombu.utils.limits import TokenBucket

DIGESTS: dict[Any, str] = {
    # Overridden.
    Consumer.bucket_for_task: "eba7281113a3",
    Consumer.reset_rate_limits: "757b0c8da6e8",
    Consumer._schedule_bucket_request: "3437673ea83e",
    Consumer.ensure_connected: "3f79cf3bb6d6",
    Consumer.shutdown: "a081dc7db4a9",
    Consumer.connect: "7ca359b806be",
    Consumer.create_task_handler: "292c5a681f10",
    Consumer.update_strategies: "3b6d9ae0872f",
    Consumer.on_unknown_message: "213bd3ee55cb",
    Consumer.on_unknown_task: "35e6cbe56494",
    Consumer.on_invalid_task: "9893e7a4eee3",
    Consumer.on_decode_error: "e3538c586a7f",
    Consumer.connection_for_write: "9ccbf829bfb0",
    Consumer.register_with_event_loop: "aacc1dedab42",
    Channel._brpop_read: "c42518699709",
    Transport._deliver: "799e242f3ec5",
    Channel._connparams: "e9a4295085a8",
    Task.retry: "82cd910b5966",
    _AbstractTransport.read_frame: "8ed436f6d193",
    _AbstractTransport.having_timeout: "740a66fab78a",
    TCPTransport._read: "e70c3702dc01",
    SSLTransport._read: "735301d10bc9",
    amqp.Connection.blocking_read: "c31d5e52c494",
    amqp.Connection.on_inbound_method: "7e6cf1b559ed",
    amqp.Channel._on_basic_deliver: "2656a7f69b1c",
    frame_handler: "77ba238ed08f",
    # Relied upon: who calls the above, and in which order.
    Consumer._limit_task: "e170f217b160",
    Consumer._limit_post_eta: "077245a4d445",
    Consumer._limit_move_to_pool: "accd812f0913",
    Consumer.on_close: "e96d425dce0a",
    TokenBucket: "882534d0b77f",
    Events.start: "5dafa048a5f8",
    EventDispatcher.send: "eb70b87b4c68",
    EventDispatcher.flush: "4e9a6b4ec6a9",
    Tasks.start: "e0165bf1d620",
    WorkController.stop: "1521a8eb8dd7",
    WorkController.signal_consumer_close: "52e20ff1adf2",
    strategy.default: "7d90575ada5e",
    loops.asynloop: "05a53e519988",
    Request.__init__: "efdf47149cde",
    Request.acknowledge: "60dad9ce9c39",
    Request.reject: "08be2378bcc6",
    Channel._put: "1c0cf9749576",
    Channel._inplace_augment_message: "3a07d99062fc",
    Channel.prepare_message: "40e1ae6d7753",
    Message: "89d6f34017b6",
    frame_writer: "aeb6ed1af363",
    amqp.Channel._basic_publish: "435fd18a6c88",
    AbstractChannel.wait: "12a080a10e7c",
    pyamqp.Transport.establish_connection: "cb508d5533b9",
    SSLTransport._wrap_socket_sni: "47780e408c38",
}


@pytest.mark.parametrize("upstream", DIGESTS, ids=lambda upstream: upstream.__qualname__)
def test_the_source_upstream_is_the_one_that_was_read(upstream: Any) -> None:
    """If this fails, read the new source, check the code that depends on it, and record the new digest."""
    source = inspect.getsource(inspect.unwrap(upstream))
    assert DIGESTS[upstream] == hashlib.sha256(source.encode()).hexdigest()[:12]


def test_celery_and_kombu_are_the_versions_that_were_read() -> None:
    assert celery.__version__.startswith("5.7.")
    assert kombu.__version__.startswith("5.7.")
