"""Follow deliveries as they come, and show one of them, or an event as it came in, with personal data masked."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from worker.ledger.delivery import failures, finding
from worker.ledger.delivery.deliveries import PAYLOAD
from worker.ledger.delivery.failures import Failure, FailureFilter
from worker.ledger.delivery.finding import FoundDelivery
from worker.ledger.intake import debug_inputs
from worker.ledger.intake.debug_inputs import MAX_INPUTS, Input
from worker.ledger.rows import LARGEST_ID
from worker.ledger.setup import integrations, sources
from worker.ledger.setup.sources import Source
from worker.ledger.vault import SealError
from worker.operations.caller import Caller
from worker.operations.deliveries.masking import masked_event, masked_payload
from worker.operations.deliveries.selection import all_sources
from worker.operations.errors import NotFoundError
from worker.pipeline.ingest.debugging import Decision, open_debug_input

_MOST_SHOWN = 50
# Ids ascend, so the newest deliveries have the highest ids. A filter searches this many.
_MOST_LOOKED_AT = 1_000
_MOVING = ("pending", "in_flight")
_FOLLOW_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Choose among the newest deliveries; an empty field chooses all."""

    stands: str = ""
    name: str = ""
    text: str = ""
    source_id: str = ""

    def fits(self, found: FoundDelivery) -> bool:
        """Return whether a delivery is chosen."""
        names = (found.event_name, found.source_name)
        return (
            self.stands in ("", found.stands)
            and self.source_id in ("", found.source_id)
            and (not self.name or self.name.casefold() in [name.casefold() for name in names])
            and self.text in found.event_id
        )

    def takes(self, kept: Input) -> bool:
        """Return whether an event that was kept as it came in is chosen; it has no state of its own."""
        named = not self.name or self.name.casefold() == kept.name.casefold()
        return named and not self.stands and self.text in kept.event_id


@dataclass(frozen=True, slots=True)
class NewestEvents:
    """Hold the newest deliveries and kept events, newest first, and the sources, with those that are debugged."""

    found: Sequence[FoundDelivery]
    kept: Sequence[Input]
    sources: Sequence[Source]
    debugged: Sequence[Source]


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """Hold an event as it came in, masked, with each decision about it; ``problem`` says why it cannot be opened."""

    kept: Input
    event: Any
    received: Mapping[str, Any]
    decisions: Sequence[Decision]
    problem: str = ""

    def decided(self, integration_id: str | None) -> Decision | None:
        """Return what one integration decided."""
        return next((one for one in self.decisions if one.integration_id == integration_id), None)


@dataclass(frozen=True, slots=True)
class EventDetail:
    """Hold one delivery in its stages; ``payload`` is masked JSON, empty if there is no payload, None if not opened."""

    delivery: FoundDelivery
    integration_name: str
    failure: Failure | None
    tries: Sequence[dict[str, Any]]
    came: KeptEvent | None
    payload: str | None


def list_newest(caller: Caller, wanted: EventFilter) -> NewestEvents:
    """Return the newest deliveries that a filter chooses, and the events kept while their source is debugged."""
    known = all_sources(caller)
    with caller.ledger.read() as connection:
        newest = finding.newest_delivery_id(connection)
        found = finding.find_deliveries_after(connection, newest - _MOST_LOOKED_AT, _MOST_LOOKED_AT)
        kept = debug_inputs.newest_debug_inputs(connection, caller.now, MAX_INPUTS, wanted.source_id)
    return NewestEvents(
        [one for one in reversed(found) if wanted.fits(one)][:_MOST_SHOWN],
        [one for one in kept if wanted.takes(one)][:_MOST_SHOWN],
        known,
        [one for one in known if one.debug_until > caller.now],
    )


def get_event(caller: Caller, number: int, *, with_payload: bool = False) -> EventDetail:
    """Return one delivery, with its payload if ``with_payload`` is set or its source was debugged.

    Raises:
        NotFoundError: there is no such delivery.
    """
    with caller.ledger.read() as connection:
        found = (
            next(iter(finding.find_deliveries(connection, [number])), None)
            if 0 < number <= LARGEST_ID
            else None
        )
        if found is None:
            raise NotFoundError("delivery", str(number))
        failure = next(iter(failures.failed_after(connection, FailureFilter(ids=(number,)), 1)), None)
        tries = (
            failures.attempts_of_batch(connection, failure.batch_id) if failure and failure.batch_id else []
        )
        its = (
            integrations.load_integration(connection, found.integration_id) if found.integration_id else None
        )
        kept = _kept(connection, found, caller.now)
    return EventDetail(
        found,
        its.name if its else "",
        failure,
        tries,
        _open(caller, kept) if kept else None,
        _payload(caller, number) if with_payload or kept else None,
    )


def get_kept_event(caller: Caller, number: int) -> tuple[KeptEvent, Source | None, list[FoundDelivery]]:
    """Return an event that was kept while its source was debugged, with its source and its deliveries.

    Raises:
        NotFoundError: there is no such event, or it is not kept any more.
    """
    with caller.ledger.read() as connection:
        kept = debug_inputs.find_debug_input(connection, number, caller.now) if number <= LARGEST_ID else None
        if kept is None:
            raise NotFoundError("kept event", str(number))
        source = sources.load_source(connection, kept.source_id)
        found = finding.find_deliveries_of_event(connection, kept.event_id, _MOST_SHOWN)
    return _open(caller, kept), source, [one for one in found if one.source_id == kept.source_id]


def follow_deliveries(caller: Caller, after_id: int) -> Iterator[FoundDelivery]:
    """Yield each delivery after an id as soon as it has ended, without end."""
    moving: list[int] = []
    while True:
        with caller.ledger.read() as connection:
            new = finding.find_deliveries_after(connection, after_id, 500)
            looked_at = finding.find_deliveries(connection, moving) + new
        after_id = max([after_id, *(found.id for found in new)])
        moving = [found.id for found in looked_at if found.stands in _MOVING]
        yield from (found for found in looked_at if found.stands not in _MOVING)
        time.sleep(_FOLLOW_SECONDS)


def _kept(connection: Connection, found: FoundDelivery, now: float) -> Input | None:
    if found.source_id is None:
        return None
    return debug_inputs.debug_input_of_event(connection, found.source_id, found.event_id, now)


def _open(caller: Caller, kept: Input) -> KeptEvent:
    try:
        seen = open_debug_input(caller.ledger.vault, kept)
    except SealError as error:
        return KeptEvent(kept, None, {}, [], f"What came in cannot be opened: {error}.")
    received = seen.received
    how = {
        "channel": received.channel,
        "ip": received.ip,
        "userAgent": received.user_agent,
        "cookies": {
            "anonymousId": received.dfid,
            "_pin_unauth": received.pin_unauth,
            "_epik": received.epik,
        },
    }
    return KeptEvent(kept, masked_event(seen.event), masked_event(how), seen.decisions)


def _payload(caller: Caller, number: int) -> str:
    with caller.ledger.read() as connection:
        sealed = failures.failed_payload(connection, number)
    if sealed is None:
        return ""
    try:
        text = caller.ledger.vault.open(sealed, PAYLOAD)
    except SealError as error:
        return f"The payload cannot be opened: {error}."
    return json.dumps(masked_payload(json.loads(text)), indent=2, ensure_ascii=False)
