"""Read a person's rows as JSON."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from worker.event import json_text
from worker.event.times import iso
from worker.ledger.database import Ledger
from worker.ledger.delivery import find_deliveries
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.intake import inbox, visitors
from worker.ledger.intake.debug_inputs import INPUT
from worker.ledger.rows import chunks
from worker.ledger.upkeep import person_rows
from worker.ledger.vault import SealError
from worker.pinterest.user_data.person_matching import Person, split_record

_TIMES = ("received_at", "updated_at", "event_time", "accepted_at", "ended_at")
# Keyed hashes tell nothing without the installation's key.
_KEYS = ("anonymous_key", "user_key", "order_key")
# What a row says of a delivery that may be another's order: where the data went.
_OF_REDUCED = ("id", "state", "ad_account_id", "integration_id", "source_id")
# Fields that have another name in the JSON.
_JSON_NAMES = {"payload": "body"}


def read_rows(
    ledger: Ledger,
    person: Person,
    row_ids: Mapping[str, Iterable[Any]],
    linked: Collection[bytes],
    reduced: Mapping[int, Mapping[str, Any]],
) -> dict[str, list[Any]]:
    """Return the person's waiting events, visitor records, deliveries and inputs of the live debugger.

    ``row_ids`` has the ids of the rows, by their part. Nothing that signed calls said of ``linked`` visitors is in it.
    ``reduced`` has the user data that public calls gave to other deliveries: nothing else of those is in it.
    """
    ids = {part: sorted(of_part) for part, of_part in row_ids.items()}
    ids["linked"] = sorted(set(ids["visitors"]) & set(linked))
    ids["visitors"] = sorted(set(ids["visitors"]) - set(linked))
    with ledger.read() as connection:
        events = [
            row for chunk in chunks(ids["inbox"]) for row in person_rows.waiting_events(connection, chunk)
        ]
        visitor_rows, partly = (
            [row for chunk in chunks(ids[part]) for row in person_rows.visitor_bodies(connection, chunk)]
            for part in ("visitors", "linked")
        )
        deliveries = [
            {_JSON_NAMES.get(name, name): value for name, value in asdict(row).items()}
            for chunk in chunks(ids["deliveries"])
            for row in find_deliveries.find_by_ids(connection, chunk, with_payloads=True)
        ]
        parts = [
            {_JSON_NAMES.get(name, name): getattr(row, name) for name in _OF_REDUCED}
            | {"data": {"user_data": reduced[row.id]}}
            for chunk in chunks(sorted(reduced))
            for row in find_deliveries.find_by_ids(connection, chunk)
        ]
        debug_rows = person_rows.debugged_events(connection)
    return {
        "events": _unseal(ledger, events, inbox.BODY),
        "visitors": [
            *_unseal(ledger, visitor_rows, visitors.BODY),
            *(row | {"data": split_record(row["data"])[1]} for row in _unseal(ledger, partly, visitors.BODY)),
        ],
        "deliveries": [*_unseal(ledger, deliveries, PAYLOAD), *parts],
        "debugged": _unseal(ledger, debug_rows, INPUT, person),
    }


def _unseal(
    ledger: Ledger, rows: Sequence[Mapping[str, Any]], purpose: bytes, person: Person | None = None
) -> list[dict[str, Any]]:
    """Return rows with their bodies as JSON; with a person, only the rows that name them."""
    result: list[dict[str, Any]] = []
    for row in rows:
        try:
            text = ledger.vault.open(row["body"], purpose) if row["body"] is not None else b"null"
        except SealError:
            continue
        keys = {row.get("anonymous_key"), row.get("user_key")}
        if person is not None and person.keys.isdisjoint(keys) and not person.appears_in(text):
            continue
        fields = {
            name: iso(value) if name in _TIMES and value is not None else value
            for name, value in row.items()
            if name not in _KEYS and name != "body"
        }
        result.append(fields | {"data": json_text.parse_json(text)})
    return result
