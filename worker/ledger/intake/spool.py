"""Keep accepted requests in files on this host while the database cannot take them.

A file has one record after the other: a header with the length, a checksum and the number of events, then the request
as JSON. Bodies are sealed and visitors are hashed, as in the database.
"""

import fcntl
import os
import struct
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import orjson

from worker.event.received import Trust
from worker.ledger.intake.inbox import Accepted, SignedRequest

_HEADER = struct.Struct(">IIH")
_SUFFIX, _UNREADABLE_SUFFIX = ".spool", ".unreadable"


@dataclass(frozen=True, slots=True)
class SpooledRequest:
    """Hold the events of a request; ``key`` identifies it when it is stored twice."""

    key: bytes
    events: tuple[Accepted, ...]
    signed: SignedRequest | None = None

    def to_record(self) -> bytes:
        """Return the bytes that the file gets."""
        text = orjson.dumps(
            {
                "key": _to_text(self.key),
                "signed": self.signed and [_to_text(self.signed.key), self.signed.forget_at],
                "events": [
                    [
                        event.source_id,
                        _to_text(event.anonymous_key),
                        _to_text(event.user_key),
                        event.informs,
                        event.received_at,
                        _to_text(event.body),
                        event.trust.value,
                    ]
                    for event in self.events
                ],
            }
        )
        return _HEADER.pack(len(text), crc32(text), len(self.events)) + text

    @classmethod
    def _from_text(cls, text: bytes) -> "SpooledRequest":
        record = orjson.loads(text)
        signed = record["signed"] and SignedRequest(b64decode(record["signed"][0]), record["signed"][1])
        events = (
            Accepted(
                source_id=source_id,
                anonymous_key=_from_text(anonymous_key),
                user_key=_from_text(user_key),
                informs=informs,
                received_at=received_at,
                body=b64decode(body),
                trust=Trust(trust),
            )
            for source_id, anonymous_key, user_key, informs, received_at, body, trust in record["events"]
        )
        return cls(b64decode(record["key"]), tuple(events), signed or None)


def _to_text(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def _from_text(value: str | None) -> bytes | None:
    return None if value is None else b64decode(value)


def read_records(data: bytes) -> Iterator[tuple[SpooledRequest, int]]:
    """Yield each whole request with the place where it ends, up to the first record that is not whole."""
    start = 0
    while (end := _end_of_record(data, start)) is not None:
        length, checksum, _ = _HEADER.unpack_from(data, start)
        text = data[end - length : end]
        if crc32(text) != checksum:
            return
        yield SpooledRequest._from_text(text), end
        start = end


def _end_of_record(data: bytes, start: int) -> int | None:
    if len(data) - start < _HEADER.size:
        return None
    end = start + _HEADER.size + int(_HEADER.unpack_from(data, start)[0])
    return end if end <= len(data) else None


class Segment:
    """A file that this process appends to and holds locked. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{time.time_ns():020d}-{os.getpid()}{_SUFFIX}"
        # It gets its name once it is locked: another process would take an unlocked file for one left behind.
        unnamed = self.path.with_suffix(".new")
        self._file = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        unnamed.rename(self.path)
        _sync_folder(folder)
        self._lock = threading.Lock()
        self._synced = self.drained = self.end = 0
        self.is_broken = self._is_removed = False

    def write(self, record: bytes) -> int:
        """Append a record, and return where it ends; only one thread at a time may call this."""
        try:
            if os.write(self._file, record) < len(record):
                raise OSError("the file takes no more bytes")
        except OSError:
            # What follows a record that is not whole would not be found.
            self._cut_off()
            raise
        self.end += len(record)
        return self.end

    def sync(self, end: int) -> None:
        """Return when everything before ``end`` is on disk; concurrent calls share one flush."""
        with self._lock:
            if self._is_removed or self._synced >= end:
                return
            if self.is_broken:
                # A second flush succeeds, although the bytes of the first may be gone.
                raise OSError("an earlier flush of the file failed")
            flushed_end = self.end
            try:
                os.fsync(self._file)
            except OSError:
                # The kernel reports a failed flush once, and may have dropped the bytes.
                self.is_broken = True
                raise
            self._synced = flushed_end

    def _cut_off(self) -> None:
        try:
            os.ftruncate(self._file, self.end)
        except OSError:
            self.is_broken = True

    def undrained(self) -> bytes:
        """Return what is written and not drained yet."""
        return os.pread(self._file, self.end - self.drained, self.drained)

    def keep_unreadable(self) -> None:
        """Keep a copy of the file, because some of it cannot be read."""
        os.link(self.path, self.path.with_suffix(_UNREADABLE_SUFFIX))

    def remove(self) -> None:
        """Delete the file, which is drained."""
        with self._lock:
            self.path.unlink(missing_ok=True)
            self.close()

    def close(self) -> None:
        """Release the file."""
        if not self._is_removed:
            self._is_removed = True
            os.close(self._file)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def adopted(path: Path) -> Iterator[bytes | None]:
    """Lend the bytes of a file that an ended process left behind; None if it is gone or in use."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
    else:
        yield os.pread(file, os.fstat(file).st_size, 0)
    finally:
        os.close(file)


def files(folder: Path) -> list[Path]:
    """Return the spool's files, the oldest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def discard(path: Path, data: bytes, drained: int) -> int:
    """Delete a drained file. Unreadable bytes are kept under another name; return how many.

    The start of a record that the end of the file cuts off is not kept: its request was never answered.
    """
    rest = data[drained:]
    if not rest or _end_of_record(rest, 0) is None:
        path.unlink(missing_ok=True)
        return 0
    path.rename(path.with_suffix(_UNREADABLE_SUFFIX))
    return len(rest)


@dataclass(frozen=True, slots=True)
class _Spooled:
    """Count what waits in the spool of this host, and the files with bytes that cannot be read."""

    events: int
    size_bytes: int
    unreadable: int


def count_spooled(folder: Path) -> _Spooled:
    """Count by the headers of the records; events that are being drained count until their file is done."""
    events = size = 0
    for path in files(folder):
        try:
            with path.open("rb") as file:
                while len(header := file.read(_HEADER.size)) == _HEADER.size:
                    length, _, n = _HEADER.unpack(header)
                    file.seek(length, os.SEEK_CUR)
                    events += n
                size += os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            continue
    return _Spooled(events, size, len(list(folder.glob(f"*{_UNREADABLE_SUFFIX}"))))
