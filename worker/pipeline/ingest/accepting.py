"""Check an event and seal it for the inbox, whether a request or a file brought it."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from worker import logs
from worker.event import json_text
from worker.event.click_ids import ClickIds, find_click_ids
from worker.event.envelope import check_envelope
from worker.event.json_in_text import with_opened_fields
from worker.event.received import Received, Trust, visitor_ids
from worker.ledger.intake import inbox
from worker.ledger.intake.inbox import Accepted, Waiting
from worker.ledger.vault import MissingKeyError, SealError, Vault

_LARGEST_EVENT_BYTES = 64 * 1024

# Publishes ids of accepted events; returns how many were accepted for publishing.
PublishIds = Callable[[Sequence[int]], int]
# Returns how an event came in; called once for each event that is not too large, in order.
_Receive = Callable[[Mapping[str, Any]], Received]

log = logs.of(__name__)


class TooLargeError(Exception):
    """The event is larger than 64 KB."""

    def __init__(self, size_bytes: int) -> None:
        self.message = (
            f"must be at most 64 KB ({_LARGEST_EVENT_BYTES} bytes) of JSON, not {size_bytes} bytes."
        )
        super().__init__(f"event {self.message}")


def prepare_event(raw: object, receive: _Receive, source_id: str, vault: Vault, trust: Trust) -> Accepted:
    """Check and seal one event.

    Raises:
        EnvelopeError: the event is invalid.
        TooLargeError: the event is larger than allowed, also without what is not sent.
    """
    raw = with_opened_fields(raw)
    text = check_envelope(raw)
    event = cast("dict[str, Any]", raw)
    if event.get("messageId") in (None, ""):
        # Stored with the event, so that every retry has the same id.
        event = event | {"messageId": str(uuid.uuid4())}
        text = json_text.format_json(event)
    if len(text) > _LARGEST_EVENT_BYTES:
        # Imported here: most collectors never need it.
        from worker.pinterest.custom_data.trimming import trim_event

        event = trim_event(event, _LARGEST_EVENT_BYTES)
        text = json_text.format_json(event)
        if len(text) > _LARGEST_EVENT_BYTES:
            raise TooLargeError(len(text))
    received = receive(event)
    body = b'{"event":%b,"received":%b}' % (text, json_text.format_json(received.to_dict()))
    anonymous_id, user_id = visitor_ids(event, received)
    return Accepted(
        source_id=source_id,
        anonymous_key=_key(vault, "anonymous", source_id, anonymous_id),
        user_key=_key(vault, "user", source_id, user_id),
        informs=_informs(event, received),
        received_at=received.received_at,
        body=vault.seal(body, inbox.BODY),
        trust=trust,
    )


def publish_ids(offer: PublishIds, ids: Sequence[int]) -> None:
    """Publish the ids of committed events; a failure is logged, because the sweeper publishes them again."""
    try:
        offer(ids)
    except Exception as error:  # noqa: BLE001 - the events are stored already
        log.error("hint_failed", events=len(ids), error=logs.error_location(error))


def _informs(event: dict[str, Any], received: Received) -> bool:
    return event["type"] == "identify" or find_click_ids(event, received).epik is not None


def _key(vault: Vault, kind: str, source_id: str, visitor_id: str | None) -> bytes | None:
    return None if visitor_id is None else vault.keyed_hash(kind, source_id, visitor_id)


# A call of the enum takes ten times as long.
_TRUSTS = tuple(Trust)


class OpenedEvent(NamedTuple):
    """Hold an inbox row with its event."""

    row: Waiting
    event: Mapping[str, Any]
    received: Received
    click_ids: ClickIds
    # The source's names of its consent tool's groups.
    consent_groups: Mapping[str, str] | None = None

    @property
    def trust(self) -> Trust:
        """Return whether the sender signed the event."""
        return _TRUSTS[self.row.trust]

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Return the keys of the event's visitor: the person's first, then the device's."""
        return tuple(key for key in (self.row.user_key, self.row.anonymous_key) if key is not None)


class UnreadableError(Exception):
    """The row cannot be opened; the message has the reason without content of the event."""


def open_row(vault: Vault, row: Waiting) -> OpenedEvent:
    """Open a row.

    Raises:
        UnreadableError: the body cannot be decrypted or is not an event.
        MissingKeyError: this process lacks the key.
    """
    try:
        body = json_text.parse_json(vault.open(row.body, inbox.BODY))
        event, received = body["event"], Received.from_dict(body["received"])
        return OpenedEvent(row, event, received, find_click_ids(event, received))
    except MissingKeyError:
        raise
    except (SealError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"The event cannot be opened ({type(error).__name__}).") from error


def open_rows(vault: Vault, rows: Iterable[Waiting]) -> tuple[list[OpenedEvent], dict[int, str]]:
    """Open rows; return also the ids of those that cannot be opened, with the reason."""
    events: list[OpenedEvent] = []
    reasons: dict[int, str] = {}
    for row in rows:
        try:
            events.append(open_row(vault, row))
        except (UnreadableError, MissingKeyError) as error:
            reasons[row.id] = str(error)
    return events, reasons
