"""Accept events while the database cannot take them, and bring them in when it is back."""

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from worker import logs
from worker.collector.caller_cache import RememberedSources
from worker.collector.intake import MAX_COMMIT_EVENTS, Accept, without_repeats
from worker.ledger.database import Ledger, LedgerBusyError, is_ledger_unavailable
from worker.ledger.intake import inbox, spool
from worker.ledger.intake.inbox import Accepted, SignedRequest
from worker.ledger.intake.spool import Segment, SpooledRequest
from worker.ledger.migrate import check_ledger
from worker.pipeline.ingest.accepting import PublishIds, publish_ids
from worker.retention import SPOOLED_SECONDS

log = logs.of(__name__)

_SEGMENT_BYTES = 8 * 1024 * 1024
# What is left at the end is stored in one transaction.
_LAST_BYTES = 64 * 1024
_LOOK_SECONDS = 1.0


class SpoolingIntake:
    """Store events in the ledger; while it cannot take them, in a spool of ``most_bytes`` in a folder of this host.

    All processes of the host share the folder, and each writes files of its own. What is in this process's files
    is drained before it stores anything else, so that events keep their order.
    """

    def __init__(
        self, ledger: Ledger, accept: Accept, folder: Path, most_bytes: int, offer: PublishIds
    ) -> None:
        self._ledger, self._accept, self._offer = ledger, accept, offer
        self._folder, self._most_bytes = folder, most_bytes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._segments: deque[Segment] = deque()
        self.remembered = RememberedSources(ledger, folder)
        self.is_away = False
        self._is_checked = True
        self._failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def start_without_ledger(self, error: Exception) -> bool:
        """Return whether this host knows the sources and keys; then events go to the spool.

        The ledger is checked before anything is stored in it.

        Raises:
            SealError: ENCRYPTION_KEY lacks the key of this host's spool.
        """
        if not self.remembered.read_keys():
            return False
        self._is_checked = False
        self.note(error)
        return True

    def start(self) -> None:
        """Start the thread that drains."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; what is not drained stays for the next process."""
        self._closing.set()
        self._thread.join(2.0)

    def accept(
        self, events: Sequence[Accepted], now: float, signed: SignedRequest | None = None
    ) -> list[int]:
        """Return the ids of the events after their commit, or none once they are in the spool.

        Raises:
            LedgerBusyError: neither the ledger nor the spool takes them.
        """
        while True:
            is_direct = not self._segments and not self.is_away
            if is_direct:
                try:
                    return self._accept(events, now, signed)
                except Exception as error:
                    if not is_ledger_unavailable(error):
                        raise
                    self.note(error)
            if self._append(
                SpooledRequest(os.urandom(16), tuple(events), signed), must=is_direct or self.is_away
            ):
                return []

    def note(self, error: Exception) -> None:
        """Remember that the ledger is away: events go to the spool without waiting for it."""
        if not self.is_away:
            log.warning("spooling", error=type(error).__name__)
        self.is_away = True

    def _append(self, request: SpooledRequest, *, must: bool) -> bool:
        """Return whether the request is in the spool; unless it must, it is not once the spool is drained."""
        record = request.to_record()
        try:
            with self._lock:
                if not must and not self._segments:
                    return False
                if self._used_bytes() + len(record) > self._most_bytes:
                    raise LedgerBusyError("the spool is full")
                segment = self._open_segment()
                end = segment.write(record)
            segment.sync(end)
        except OSError as error:
            raise LedgerBusyError(f"the spool cannot be written: {error}") from error
        return True

    def _used_bytes(self) -> int:
        sizes = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                # Another process may drain and delete it meanwhile.
                with suppress(FileNotFoundError):
                    sizes += entry.stat().st_size
        return sizes

    def _open_segment(self) -> Segment:
        last = self._segments[-1] if self._segments else None
        if last is None or last.is_broken or last.end >= _SEGMENT_BYTES:
            last = Segment(self._folder)
            self._segments.append(last)
        return last

    def _run(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            try:
                self.drain()
                self._remember()
                self._failing = False
            except Exception as error:  # noqa: BLE001 - the thread must survive every outage
                if not self._failing and not is_ledger_unavailable(error):
                    log.error("spool_not_drained", error=logs.error_location(error))
                self._failing = True

    def _remember(self) -> None:
        try:
            self.remembered.write()
        except OSError as error:
            log.error("sources_not_written", error=type(error).__name__)

    def drain(self) -> None:
        """Bring everything into the ledger that this process or an ended one left; errors of the ledger are raised."""
        if not self._is_checked:
            check_ledger(self._ledger)
            self._is_checked = True
        own_paths = {segment.path for segment in self._segments}
        for path in spool.files(self._folder):
            if path not in own_paths:
                self._drain_left(path)
        while self._segments:
            self._drain_own(self._segments[0])
        if self.is_away:
            self._ledger.ping()
            self.is_away = False

    def _drain_left(self, path: Path) -> None:
        with spool.adopted(path) as data:
            if data is None:
                return
            drained = 0
            for requests, end in _groups(data):
                self._store(requests)
                drained = end
            if lost := spool.discard(path, data, drained):
                log.error("spool_unreadable", file=path.name, bytes=lost)

    def _drain_own(self, segment: Segment) -> None:
        while segment.end - segment.drained > _LAST_BYTES:
            self._drain_part(segment)
        # Under steady traffic it would never be empty: the next requests wait for its rest.
        with self._lock:
            self._drain_part(segment)
            self._segments.popleft()
            segment.remove()

    def _drain_part(self, segment: Segment) -> None:
        data, start = segment.undrained(), segment.drained
        for requests, end in _groups(data):
            self._store(requests)
            segment.drained = start + end
        if lost := len(data) - (segment.drained - start):
            segment.keep_unreadable()
            segment.drained += lost
            log.error("spool_unreadable", file=segment.path.name, bytes=lost)

    def _store(self, requests: Sequence[SpooledRequest]) -> None:
        now = self._ledger.now()
        # A request may be stored twice if a process ends between the commit and the removal of its file.
        keys = [SignedRequest(request.key, now + SPOOLED_SECONDS) for request in requests]
        with self._ledger.write() as connection:
            fresh_keys = inbox.insert_signed_requests(connection, keys)
            new = without_repeats(connection, [request for request in requests if request.key in fresh_keys])
            ids = inbox.accept_events(connection, [event for request in new for event in request.events], now)
        if self.is_away:
            log.info("spool_draining")
        self.is_away = False
        publish_ids(self._offer, ids)


def _groups(data: bytes) -> Iterator[tuple[list[SpooledRequest], int]]:
    """Yield requests for one transaction each, with the place where the last of them ends."""
    records = spool.read_records(data)
    while first := next(records, None):
        group, end = [first[0]], first[1]
        size = len(first[0].events)
        while size < MAX_COMMIT_EVENTS and (record := next(records, None)):
            group.append(record[0])
            size, end = size + len(record[0].events), record[1]
        yield group, end
