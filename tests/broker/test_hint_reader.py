"""Hints are read many at a time, and everything else as py-amqp reads it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EAGAIN
from struct import pack
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.basic_message import Message as AmqpMessage
from amqp.method_framing import frame_handler, frame_writer
from amqp.serialization import dumps
from amqp.spec import Basic
from amqp.transport import TCPTransport
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu import Connection
from kombu.message import Message
from kombu.transport.pyamqp import Channel

from tests.broker.harness import Broker
from worker.broker.bulk import _HintRun
from worker.broker.hint_reader import HintReader, _hint_pattern
from worker.broker.messages import TaskMessageBuilder, ids_in_message
from worker.broker.publisher import publish_many

HINT = TaskMessageBuilder("sample.gather")
HEARTBEAT = pack(">BHIB", 8, 0, 0, 0xCE)
QUEUE, TAG = "hints", "consumer-1"
OTHER_QUEUE, OTHER_TAG = "hints-2", "consumer-2"


def delivered(
    tag: int,
    options: dict[str, Any],
    redelivered: bool = False,
    frame_max: int = 4096,
    consumer: tuple[str, str] = (TAG, QUEUE),
) -> bytes:
    """Return a message's frames as RabbitMQ sends them to a consumer."""
    written = bytearray()
    connection = SimpleNamespace(frame_max=frame_max, bytes_sent=0)
    message = Channel.prepare_message(SimpleNamespace(Message=AmqpMessage), **options)
    writer = frame_writer(connection, SimpleNamespace(write=written.extend))
    writer(1, 1, Basic.Deliver, dumps("sLbss", (consumer[0], tag, redelivered, "", consumer[1])), message)
    return bytes(written)


def hint(id_: int, **changes: Any) -> dict[str, Any]:
    """Return what a publisher sends for an id."""
    options = HINT.publish_options((id_,))
    for key, value in changes.items():
        options["headers"] = options["headers"] | {key: value}
    return options


def pattern_of(options: dict[str, Any], id_: int, raw: bytes | None = None) -> Any:
    headers = options["headers"]
    return _hint_pattern(raw or delivered(7, options), 7, headers["id"], id_, headers["origin"])


@pytest.mark.parametrize("id_", [1, 7, 10, 4711, 2**53])
def test_a_pattern_finds_tag_and_number_of_another_hint(id_: int) -> None:
    pattern = pattern_of(hint(id_), id_)
    other = int("9" * len(str(id_)))
    assert pattern.match(b"before" + delivered(2**40, hint(other)), 6) == (2**40, other)


def test_a_pattern_finds_hints_of_another_publisher_whose_name_is_as_long() -> None:
    name = str(hint(1)["headers"]["origin"])
    other = hint(5, origin="x" * len(name))
    assert pattern_of(hint(1), 1).match(delivered(8, other), 0)
    assert not pattern_of(hint(1), 1).match(delivered(8, hint(5, origin=f"x{name}")), 0)


@pytest.mark.parametrize(
    "other",
    [
        hint(12),
        hint(5, retries=1),
        hint(5, eta="2030-01-01T00:00:00+00:00"),
        hint(5, task="sample.scatter"),
        hint(5, group="0f9c7b1e-3a52-4d41-9c55-8a1b2c3d4e5f"),
        hint(5, id="0f9c7b1e-3a52-4d41-9c55-8a1b2c3d4e5f"),
        HINT.publish_options(([5, 6],)),
        HINT.publish_options((5, 6)),
        HINT.publish_options(("5",)),
        HINT.publish_options((5.5,)),
        HINT.publish_options((-5,)),
        HINT.publish_options((True,)),
    ],
)
def test_a_pattern_finds_no_message_that_is_more_than_a_hint(other: dict[str, Any]) -> None:
    assert not pattern_of(hint(1), 1).match(delivered(8, other), 0)


def test_a_hint_that_was_delivered_before_is_another_kind() -> None:
    assert not pattern_of(hint(1), 1).match(delivered(8, hint(5), redelivered=True), 0)


@pytest.mark.parametrize(
    ("options", "id_"),
    [
        (hint(5, id="no-uuid"), 5),
        (HINT.publish_options((0,)), 0),
        (HINT.publish_options(([5],)), 5),
        (HINT.publish_options((5, 5)), 5),
        (hint(5, shadow="[[5],"), 5),
        (hint(5, shadow="(5,)"), 5),
        (hint(5) | {"body": b""}, 5),
    ],
)
def test_of_an_unusual_message_no_pattern_is_made(options: dict[str, Any], id_: int) -> None:
    assert pattern_of(options, id_) is None


def test_of_a_message_in_parts_no_pattern_is_made() -> None:
    options = hint(5)
    whole = delivered(7, options)
    assert pattern_of(options, 5, whole) is not None
    assert pattern_of(options, 5, whole + HEARTBEAT) is None
    long = options | {"body": options["body"] + b" " * 5_000}
    assert pattern_of(long, 5, delivered(7, long, frame_max=4096)) is None


class Sink:
    """Note what arrives, in order, and learn hints as a bulk's buffer does."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.messages = 0
        self.takes_runs = True
        self.reader: HintReader | None = None
        self.channel = SimpleNamespace(callbacks={TAG: 1, OTHER_TAG: 1}, is_closing=False)

    def add_run(self, ids: list[int], channel: Any, first_tag: int) -> None:
        assert channel is self.channel
        self.seen += zip(ids, range(first_tag, first_tag + len(ids)), strict=True)

    def on_amqp_message(self, _channel: int, _method: Any, arguments: bytes, content: Any) -> None:
        """Do what channel, kombu and consumer do with a message."""
        tag = int.from_bytes(arguments[5 + len(TAG) : 13 + len(TAG)], "big")
        consumer = arguments[5 : 5 + len(TAG)].decode()
        info = {"delivery_tag": tag, "consumer_tag": consumer, "redelivered": arguments[13 + len(TAG)]}
        properties = content.properties
        headers = properties.pop("application_headers")
        message = Message(
            content.body,
            delivery_info=info,
            channel=self.channel,
            headers=headers,
            accept={"application/json"},
            **{key: properties[key] for key in ("content_type", "content_encoding")},
        )
        self.messages += 1
        ids = ids_in_message(message, ()) if content.body else None
        self.seen.append((ids[0] if ids else -1, tag))
        if ids and self.reader:
            self.reader.learn(message, ids[0], self)


def reading(chunks: list[bytes], sink: Sink, as_usual: bool = False) -> tuple[Any, Callable[[], None]]:
    """Return a connection whose socket receives chunks, and what reads all of them; or lets py-amqp read them."""

    def receive(count: int) -> bytes:
        if not chunks:
            raise BlockingIOError(EAGAIN, "nothing there")
        received, chunks[0] = chunks[0][:count], chunks[0][count:]
        if not chunks[0]:
            del chunks[0]
        return received

    transport: Any = TCPTransport("127.0.0.1")
    transport._read_buffer, transport._quick_recv, transport.connected = b"", receive, True
    transport.raise_on_initial_eintr = True
    connection = SimpleNamespace(transport=transport, bytes_recv=0)
    connection.on_inbound_frame = frame_handler(connection, sink.on_amqp_message)
    if not as_usual:
        sink.reader = HintReader(SimpleNamespace(connection=connection))  # type: ignore[arg-type]

    def read_all() -> None:
        with suppress(BlockingIOError, TimeoutError):
            while True:
                connection.on_inbound_frame(transport.read_frame())

    return connection, read_all


def stream(kinds: list[str]) -> bytes:
    """Return the frames of hints, other messages and heartbeats."""
    made, tag = [], 0
    for number, kind in enumerate(kinds):
        if kind == "heartbeat":
            made.append(HEARTBEAT)
            continue
        tag += 1
        options = {
            "hint": hint(1 + number * 7),
            "retried": hint(1 + number * 7, retries=1),
            "many": HINT.publish_options(([1, number],)),
            "empty": hint(1) | {"body": b""},
            "large": hint(1) | {"body": b"[[1], {}, {}]".ljust(9_000)},
            "publisher": hint(1 + number * 7, origin=f"gen{number % 3}@host"),
            "other": hint(1 + number * 7),
        }[kind.removeprefix("again ")]
        consumer = (OTHER_TAG, OTHER_QUEUE) if kind == "other" else (TAG, QUEUE)
        made.append(delivered(tag, options, redelivered=kind.startswith("again"), consumer=consumer))
    return b"".join(made)


KINDS = st.sampled_from(
    ["hint"] * 6
    + ["other"] * 3
    + ["retried", "many", "publisher", "empty", "large", "heartbeat", "again hint"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(KINDS, max_size=60), st.lists(st.integers(1, 3000), max_size=20))
def test_whatever_arrives_in_whatever_pieces_arrives_once_and_in_order(
    kinds: list[str], cuts: list[int]
) -> None:
    raw = stream(kinds)
    chunks, place = [], 0
    for size in [*cuts, len(raw)]:
        chunks.append(raw[place : place + size])
        place += size
    usual, quick = Sink(), Sink()
    counted = []
    for sink in (usual, quick):
        connection, read_all = reading([chunk for chunk in chunks if chunk], sink, as_usual=sink is usual)
        read_all()
        counted.append(connection.bytes_recv)
    assert quick.seen == usual.seen
    assert counted[0] == counted[1]


def test_only_the_first_hint_of_a_kind_becomes_a_message() -> None:
    sink = Sink()
    _, read_all = reading([stream(["hint"] * 100)], sink)
    read_all()
    # Numbers of one, two and three digits.
    assert (len(sink.seen), sink.messages) == (100, 3)


def test_hints_of_two_queues_that_come_in_turn_arrive_in_one_run() -> None:
    sink, runs = Sink(), []
    sink.add_run = lambda ids, _channel, first_tag: runs.append((len(ids), first_tag))  # type: ignore[method-assign]
    chunks = [stream(["hint", "other"] * 200)]
    _, read_all = reading(chunks, sink)
    read_all()
    # Numbers of one to four digits, of each queue.
    assert sink.messages == 8
    assert sum(count for count, _ in runs) == 392
    assert len(runs) <= 8


@pytest.mark.parametrize("cause", ["revoked", "cancelled", "closing", "forgotten"])
def test_hints_become_messages_while_each_has_to_be_looked_at(cause: str) -> None:
    sink, chunks = Sink(), [stream(["hint"] * 3)]
    _, read_all = reading(chunks, sink)
    read_all()
    before = sink.messages
    if cause == "revoked":
        sink.takes_runs = False
    elif cause == "cancelled":
        sink.channel.callbacks.clear()
    elif cause == "closing":
        sink.channel.is_closing = True
    else:
        assert sink.reader is not None
        sink.reader.forget(sink)
    chunks.append(stream(["hint"] * 3))
    read_all()
    # One that was forgotten is recorded again: numbers of one digit and of two.
    assert sink.messages == before + (2 if cause == "forgotten" else 3)


def test_a_closed_connection_is_noticed_and_a_broken_frame_is_told() -> None:
    connection, _ = reading([], Sink())
    connection.transport._quick_recv = lambda _: b""
    with pytest.raises(OSError, match="closed connection"):
        connection.transport.read_frame()
    assert not connection.transport.connected
    broken, _ = reading([HEARTBEAT[:-1] + b"x"], Sink())
    with pytest.raises(Exception, match="expecting 0xce"):
        broken.transport.read_frame()


class RealSink(Sink):
    """Take hints from a real broker."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.reader = HintReader(connection)
        self.runs: list[Message | _HintRun] = []

    def add_run(self, ids: list[int], channel: Any, first_tag: int) -> None:
        self.seen += zip(ids, range(first_tag, first_tag + len(ids)), strict=True)
        self.runs.append(_HintRun(channel, first_tag, len(ids)))

    def on_message(self, message: Message) -> None:
        self.messages += 1
        self.runs.append(message)
        (id_,) = ids_in_message(message, ()) or [-1]
        self.seen.append((id_, message.delivery_tag))
        assert self.reader is not None
        self.reader.learn(message, id_, self)


@contextmanager
def consumed(broker: Broker, count: int) -> Iterator[RealSink]:
    with Connection(broker.url) as connection:
        connection.connect()
        sink = RealSink(connection)
        queue = broker.app().amqp.queues[broker.queue]
        options: Any = {"on_message": sink.on_message, "prefetch_count": 2 * count}
        with connection.Consumer([queue], **options):
            while len(sink.seen) < count:
                connection.drain_events(timeout=10)
            yield sink


def test_rabbitmq_hints_arrive_in_runs_and_are_settled_in_runs(rabbitmq: Broker) -> None:
    publish_many(
        rabbitmq.app(), "sample.gather", [(number,) for number in range(1_000, 2_000)], rabbitmq.queue
    )
    with consumed(rabbitmq, 1_000) as sink:
        assert [id_ for id_, _ in sink.seen] == list(range(1_000, 2_000))
        assert sink.messages == 1
        first, *runs = sink.runs
        first.ack()
        for run in runs[1:]:
            run.ack()
    left = runs[0].delivery_tag - first.delivery_tag
    with consumed(rabbitmq, left) as sink:
        # RabbitMQ marks what it delivers again, and each of these is looked at.
        assert (sink.messages, len(sink.seen)) == (left, left)
        for message in sink.runs:
            message.reject()
    assert rabbitmq.depth() == 0


@pytest.mark.parametrize(("how", "left"), [("requeue", 99), ("reject", 0)])
def test_rabbitmq_gets_back_or_drops_each_hint_of_a_run(rabbitmq: Broker, how: str, left: int) -> None:
    publish_many(rabbitmq.app(), "sample.gather", [(number,) for number in range(100, 200)], rabbitmq.queue)
    with consumed(rabbitmq, 100) as sink:
        first, *runs = sink.runs
        first.ack()
        for run in runs:
            getattr(run, how)()
    assert rabbitmq.depth() == left
