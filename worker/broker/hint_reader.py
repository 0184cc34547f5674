"""Read hints from RabbitMQ many at a time.

For each message py-amqp makes nine system calls, and py-amqp and kombu build an object each. Hints differ only in
delivery tag, task id, number and publisher. So the first of each kind goes the ordinary way, and its bytes become a
pattern that recognises the next.

This replaces undocumented parts of py-amqp 5.4. ``tests/broker/test_drift.py`` fails when their source changes.
"""

from errno import EAGAIN, EINTR, ENOENT, EWOULDBLOCK
from struct import unpack_from
from typing import Any, NamedTuple, Protocol

from amqp.exceptions import UnexpectedFrame
from amqp.spec import Basic
from kombu import Connection
from kombu.message import Message

_READ_BYTES = 256 * 1024
_FRAME_HEADER_BYTES, _FRAME_END = 7, 0xCE
_METHOD, _HEADER, _BODY = 1, 2, 3
# The size of the body in the payload of a header frame.
_BODY_SIZE = slice(4, 12)
_DELIVER = b"".join(number.to_bytes(2, "big") for number in Basic.Deliver)
_TAG_SIZE, _TASK_ID_SIZE = 8, 36
# OpenSSL's "nothing to read" has the number of ENOENT.
_NOTHING_YET = (EAGAIN, EINTR, ENOENT, EWOULDBLOCK)
# By queues, and by publishers' names and numbers of different lengths.
_MOST_PATTERNS = 256


class _HintBuffer(Protocol):
    """Take the ids of hints that follow each other on a channel."""

    @property
    def takes_runs(self) -> bool:
        """Return False while each message has to be looked at."""

    def add_run(self, ids: list[int], channel: Any, first_tag: int) -> None:
        """Add ids whose delivery tags start at ``first_tag`` and have no gaps."""


class _HintPattern(NamedTuple):
    """The bytes of a message that is a hint, with the places where others of its kind differ from it.

    Places are counted from the start of the message. ``literals`` are the bytes in between.
    """

    literals: tuple[tuple[int, bytes], ...]
    tag: int
    task_ids: tuple[int, ...]
    ids: tuple[int, ...]
    id_digits: int
    size: int

    def match(self, received: bytes, place: int) -> tuple[int, int] | None:
        """Return delivery tag and id of a message of this kind that is whole at a place, else None."""
        for start, literal in self.literals:
            if not received.startswith(literal, place + start):
                return None
        # The id comes last, and is what ``first`` holds afterwards.
        for starts, size in ((self.task_ids, _TASK_ID_SIZE), (self.ids, self.id_digits)):
            first = received[place + starts[0] : place + starts[0] + size]
            if any(not received.startswith(first, place + start) for start in starts[1:]):
                return None
        if not first.isdigit() or first.startswith(b"0"):
            return None
        return int.from_bytes(received[place + self.tag : place + self.tag + _TAG_SIZE], "big"), int(first)


class _Known(NamedTuple):
    """A kind of hint, and who takes its ids."""

    pattern: _HintPattern
    channel: Any
    consumer_tag: str
    buffer: _HintBuffer


def _is_in_use(known: _Known) -> bool:
    """Return whether the consumer is there, its channel is open, and the buffer takes runs."""
    channel = known.channel
    return known.consumer_tag in channel.callbacks and not channel.is_closing and known.buffer.takes_runs


class _Run(NamedTuple):
    """Hints that ``read_frame`` returns in place of a frame."""

    known: _Known
    ids: list[int]
    first_tag: int


class HintReader:
    """Read a connection's frames ahead, and give hints to their buffers without building messages.

    Everything else goes to py-amqp frame by frame, in the order of arrival.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection: Any = connection.connection
        self._transport: Any = self._connection.transport
        self._received: bytes = self._transport._read_buffer
        self._transport._read_buffer = b""
        self._place = 0
        self._known: list[_Known] = []
        # Start and end of the last message that went the ordinary way.
        self._last = (0, 0)
        self._handle_frame = self._connection.on_inbound_frame
        self._transport.read_frame = self._read_frame
        self._connection.on_inbound_frame = self._on_frame

    def learn(self, message: Message, id_: int, buffer: _HintBuffer) -> None:
        """Recognise messages like this one, which has just arrived and is a hint with one id."""
        start, end = self._last
        raw, info, headers = self._received[start:end], message.delivery_info, message.headers
        if not raw or info["redelivered"] or len(self._known) == _MOST_PATTERNS:
            return
        if any(known.pattern.match(raw, 0) for known in self._known):
            return
        pattern = _hint_pattern(raw, info["delivery_tag"], headers.get("id"), id_, headers.get("origin"))
        if pattern is not None:
            self._known.append(_Known(pattern, message.channel, info["consumer_tag"], buffer))

    def forget(self, buffer: _HintBuffer) -> None:
        """Let messages for a buffer that is no longer used go the ordinary way."""
        self._known = [known for known in self._known if known.buffer is not buffer]

    def _read_frame(self) -> tuple[int, int, bytes] | _Run:
        while True:
            if self._known and (run := self._next_run()) is not None:
                return run
            end = self._frame_end(self._place)
            if end is not None and self._is_delivery():
                # A message is handed over as a whole, so that it can be recognised or recorded.
                message_end = self._message_end(end + 1)
                self._last = self._place, message_end or 0
                end = end if message_end else None
            if end is not None:
                return self._next_frame(end)
            self._receive()

    def _is_delivery(self) -> bool:
        start = self._place
        return self._received[start] == _METHOD and self._received.startswith(
            _DELIVER, start + _FRAME_HEADER_BYTES
        )

    def _message_end(self, header: int) -> int | None:
        """Return the end of a message whose header frame starts at a place, or None if it is not there as a whole."""
        end = self._frame_end(header)
        if end is None:
            return None
        if not any(self._received[header + _FRAME_HEADER_BYTES : end][_BODY_SIZE]):
            return end + 1
        body_end = self._frame_end(end + 1)
        return None if body_end is None else body_end + 1

    def _on_frame(self, frame: Any) -> bool:
        if not isinstance(frame, _Run):
            return bool(self._handle_frame(frame))
        # Celery counts what arrives to notice a dead connection: method, header and body of each message.
        self._connection.bytes_recv += 3 * len(frame.ids)
        frame.known.buffer.add_run(frame.ids, frame.known.channel, frame.first_tag)
        return True

    def _next_run(self) -> _Run | None:
        received, place = self._received, self._place
        first = self._known_at(place)
        if first is None or not _is_in_use(first):
            return None
        known: _Known | None = first
        ids: list[int] = []
        first_tag = 0
        while known is not None:
            match, size = known.pattern.match, known.pattern.size
            while (hint := match(received, place)) is not None:
                tag, id_ = hint
                first_tag = first_tag or tag
                if tag != first_tag + len(ids):
                    break
                ids.append(id_)
                place += size
            # Hints of several queues come mixed, and the tags of a channel count all of them.
            known = self._next_in_run(known, place)
        self._place = place
        return _Run(first, ids, first_tag)

    def _known_at(self, place: int) -> _Known | None:
        return next((run for run in self._known if run.pattern.match(self._received, place)), None)

    def _next_in_run(self, last: _Known, place: int) -> _Known | None:
        """Return the kind of hint at a place if it may join the run that the last kind ends at this place."""
        kind = self._known_at(place)
        if kind is None or kind is last or not _is_in_use(kind):
            return None
        return kind if kind.channel is last.channel and kind.buffer is last.buffer else None

    def _frame_end(self, place: int) -> int | None:
        """Return where the payload of the frame at a place ends, or None if it is not there as a whole."""
        if len(self._received) < place + _FRAME_HEADER_BYTES:
            return None
        end = place + _FRAME_HEADER_BYTES + int(unpack_from(">I", self._received, place + 3)[0])
        return end if len(self._received) > end else None

    def _next_frame(self, end: int) -> tuple[int, int, bytes]:
        start, received = self._place, self._received
        kind, channel = unpack_from(">BH", received, start)
        if received[end] != _FRAME_END:
            raise UnexpectedFrame(f"Received frame_end {received[end]:#04x} while expecting 0xce")
        self._place = end + 1
        return kind, channel, received[start + _FRAME_HEADER_BYTES : end]

    def _receive(self) -> None:
        """Receive more; raise like ``Transport.read_frame`` if there is nothing, and keep what is there."""
        try:
            data = self._transport._quick_recv(_READ_BYTES)
            if not data:
                raise OSError("Server unexpectedly closed connection")
        except TimeoutError:
            raise
        except OSError as error:
            if error.errno not in _NOTHING_YET and "timed out" not in str(error):
                self._transport.connected = False
            raise
        self._received, self._place, self._last = self._received[self._place :] + data, 0, (0, 0)


def _hint_pattern(raw: bytes, tag: int, task_id: object, id_: int, origin: object) -> _HintPattern | None:
    """Return the pattern of messages that differ from one only in delivery tag, task id, number and publisher.

    ``raw`` has the message's frames as RabbitMQ sent them. Numbers and publishers' names have as many characters as
    this one's. Returns None for a message that does not consist of the parts of a hint.
    """
    if not isinstance(task_id, str) or len(task_id) != _TASK_ID_SIZE or id_ <= 0:
        return None
    frames = _split(raw)
    if [frame[:2] for frame in frames] != [(kind, frames[0][1]) for kind in (_METHOD, _HEADER, _BODY)]:
        return None
    if frames[1][2][_BODY_SIZE] != len(frames[2][2]).to_bytes(8, "big"):
        return None
    tag_at = _FRAME_HEADER_BYTES + 5 + raw[_FRAME_HEADER_BYTES + 4]
    number = b"%d" % id_
    task_ids = _places(raw, task_id.encode())
    # In the arguments, and as text in a header.
    arguments, texts = _places(raw, b"[[%b]," % number), _places(raw, b"(%b,)" % number)
    origins = _places(raw, origin.encode()) if isinstance(origin, str) and origin.isascii() and origin else []
    if raw[tag_at : tag_at + _TAG_SIZE] != tag.to_bytes(_TAG_SIZE, "big"):
        return None
    if not task_ids or len(arguments) != 1 or len(texts) > 1 or len(origins) > 1:
        return None
    ids = (arguments[0] + 2, *(place + 1 for place in texts))
    varying = [(tag_at, _TAG_SIZE)]
    varying += [(place, _TASK_ID_SIZE) for place in task_ids] + [(place, len(number)) for place in ids]
    varying += [(place, len(str(origin))) for place in origins]
    literals, start = [], 0
    for place, size in sorted(varying):
        literals.append((start, raw[start:place]))
        start = place + size
    # The end of the frame comes first: it tells whether the message is whole.
    literals.insert(0, (start, raw[start:]))
    return _HintPattern(tuple(literals), tag_at, tuple(task_ids), ids, len(number), len(raw))


def _places(raw: bytes, literal: bytes) -> list[int]:
    places, place = [], raw.find(literal)
    while place >= 0:
        places.append(place)
        place = raw.find(literal, place + len(literal))
    return places


def _split(raw: bytes) -> list[tuple[int, int, bytes]]:
    """Return kind, channel and payload of each frame."""
    frames, place = [], 0
    while place < len(raw):
        kind, channel, size = unpack_from(">BHI", raw, place)
        start = place + _FRAME_HEADER_BYTES
        place = start + int(size) + 1
        frames.append((int(kind), int(channel), raw[start : place - 1]))
    return frames
