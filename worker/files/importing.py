"""Import events into the inbox as the collector does, each line once."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Any

from worker.event import json_text
from worker.event.envelope import EnvelopeError, check_envelope
from worker.event.json_in_text import with_opened_fields
from worker.event.received import Trust, received_from_server
from worker.files.columns import ColumnsError, settle_cells
from worker.files.lines import Line
from worker.ledger.database import Ledger
from worker.ledger.intake import imported_lines, inbox
from worker.ledger.intake.inbox import Accepted
from worker.ledger.setup.sources import Source
from worker.pipeline.ingest.accepting import PublishIds, TooLargeError, prepare_event, publish_ids

_LINES_A_STEP = 500
_NO_TIME = "timestamp must be given: when it happened, not when the file was sent."


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Hold the defaults for the events of a file."""

    event: str | None = None
    action_source: str = "offline"


@dataclass(slots=True)
class ImportCounts:
    """Count lines: imported, imported before, invalid; ``errors`` has the invalid lines of one step."""

    taken: int = 0
    known: int = 0
    wrong: int = 0
    errors: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Importer:
    """Import events for one source; ``offer`` publishes ids, ``wait_for_space`` waits while the backlog is full."""

    ledger: Ledger
    source: Source
    options: ImportOptions
    offer: PublishIds
    wait_for_space: Callable[[], object]
    dry_run: bool = False
    now: Callable[[], float] = time.time

    def take(self, lines: Iterable[Line]) -> Iterator[ImportCounts]:
        """Import lines step by step; yield the counts of each step after its commit."""
        remaining = iter(lines)
        while step := list(islice(remaining, _LINES_A_STEP)):
            yield self._step(step)

    def _step(self, step: Sequence[Line]) -> ImportCounts:
        counts = ImportCounts()
        lines: dict[bytes, Line] = {}
        for line in step:
            try:
                key, event = self._complete(line)
            except EnvelopeError as error:
                counts.errors.append(Line(line.number, error=str(error)))
                continue
            # Equal lines are one event.
            counts.known += key in lines
            lines.setdefault(key, Line(line.number, event))
        with self.ledger.read() as connection:
            known_keys = imported_lines.find_imported_lines(connection, list(lines))
        accepted = self._prepare({key: line for key, line in lines.items() if key not in known_keys}, counts)
        count = len(accepted) if self.dry_run else self._store(accepted)
        counts.taken = count
        counts.known += len(known_keys) + len(accepted) - count
        counts.wrong = len(counts.errors)
        counts.errors.sort(key=lambda line: line.number)
        return counts

    def _complete(self, line: Line) -> tuple[bytes, dict[str, Any]]:
        if line.error is not None:
            raise EnvelopeError(*line.error.split(" ", 1))
        event = complete_event(line.event, self.options)
        digest = _fingerprint(event)
        if event.get("messageId") in (None, ""):
            event["messageId"] = f"line_{sha256(f'{self.source.id} {digest}'.encode()).hexdigest()[:32]}"
        key = self.ledger.vault.keyed_hash("line", self.source.id, digest)
        # After the fingerprint, which earlier versions took of the cells.
        if line.cells:
            try:
                event = settle_cells(event)
            except ColumnsError as error:
                raise EnvelopeError(*str(error).split(" ", 1)) from None
        return key, _with_action_source(event, self.options)

    def _prepare(self, lines: dict[bytes, Line], counts: ImportCounts) -> dict[bytes, Accepted]:
        receive = partial(received_from_server, received_at=self.now())
        accepted: dict[bytes, Accepted] = {}
        for key, line in lines.items():
            try:
                accepted[key] = prepare_event(
                    line.event, receive, self.source.id, self.ledger.vault, Trust.SIGNED
                )
            except (EnvelopeError, TooLargeError) as error:
                counts.errors.append(Line(line.number, error=str(error)))
        return accepted

    def _store(self, accepted: dict[bytes, Accepted]) -> int:
        """Store lines and events in one transaction."""
        if not accepted:
            return 0
        self.wait_for_space()
        now = self.now()
        with self.ledger.write() as connection:
            new_keys = imported_lines.insert_imported_lines(connection, list(accepted), now)
            ids = inbox.accept_events(
                connection, [event for key, event in accepted.items() if key in new_keys], now
            )
        publish_ids(self.offer, ids)
        return len(ids)


def complete_event(raw: Any, options: ImportOptions) -> dict[str, Any]:
    """Return the event of a line with the default type and name.

    Raises:
        EnvelopeError: it is not a valid event, or has no timestamp.
    """
    raw = with_opened_fields(raw)
    if isinstance(raw, dict):
        raw = {"type": "track"} | {name: value for name, value in raw.items() if name != "sentAt"}
        if raw["type"] == "track" and options.event and not raw.get("event"):
            raw["event"] = options.event
    check_envelope(raw)
    event: dict[str, Any] = raw
    # The time of receipt would make the event differ in each run.
    if not str(event.get("timestamp") or "").strip() and event["type"] in ("track", "page"):
        raise EnvelopeError(*_NO_TIME.split(" ", 1))
    return event


def _with_action_source(event: dict[str, Any], options: ImportOptions) -> dict[str, Any]:
    """Return the event with an action source."""
    context = event.get("context") or {}
    properties = event.get("properties") or {}
    if any(holder.get("action_source") for holder in (context, properties)):
        return event
    return event | {"context": {**context, "action_source": options.action_source}}


def _fingerprint(event: dict[str, Any]) -> str:
    """Return a hash of the content, independent of the order of keys."""
    return sha256(json_text.format_json(_sorted(event))).hexdigest()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
