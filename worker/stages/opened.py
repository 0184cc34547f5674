"""Open inbox rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.events import json_text
from worker.events.received import Received
from worker.events.trust import Trust
from worker.ledger import inbox
from worker.ledger.inbox import Waiting
from worker.ledger.vault import SealError, Vault


@dataclass(frozen=True, slots=True)
class Opened:
    """Hold an inbox row with its event."""

    row: Waiting
    event: Mapping[str, Any]
    received: Received

    @property
    def trust(self) -> Trust:
        """Return whether the sender signed the event."""
        return Trust(self.row.trust)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Return the keys of the event's visitor: the person's first, then the device's."""
        return tuple(key for key in (self.row.user_key, self.row.anonymous_key) if key is not None)


class UnreadableError(Exception):
    """The row cannot be opened; the text is the reason, without anything of its content."""


def open_row(vault: Vault, row: Waiting) -> Opened:
    """Open a row.

    Raises:
        UnreadableError: its body is not what was once sealed, or not an event.
    """
    try:
        body = json_text.read(vault.open(row.body, inbox.BODY))
        return Opened(row, body["event"], Received.from_dict(body["received"]))
    except (SealError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"The event cannot be opened ({type(error).__name__}).") from error


def open_rows(vault: Vault, rows: Iterable[Waiting]) -> tuple[list[Opened], dict[int, str]]:
    """Open rows; return also the ids of those that cannot be opened, with the reason."""
    opened: list[Opened] = []
    broken: dict[int, str] = {}
    for row in rows:
        try:
            opened.append(open_row(vault, row))
        except UnreadableError as error:
            broken[row.id] = str(error)
    return opened, broken
