"""What a person may ask for: what is kept of them, to be forgotten for good, and a proof of it."""

import json
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from tests.ledger import shop as shops
from tests.ledger.shop import place
from tests.operations.test_erasing import GRANTED, KIM, LEE, identify, names, order
from worker.api.person import _PersonBody
from worker.cli import person as cli_person
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.intake import debug_inputs, inbox, visitors
from worker.ledger.schema import delivery, metadata, person_request, suppression
from worker.ledger.schema import visitor as visitor_table
from worker.operations.caller import Caller
from worker.operations.errors import InvalidError
from worker.operations.person import erasing, person_requests
from worker.pages.routes import person as page
from worker.pinterest.user_data.hashing import hash_value
from worker.pipeline.ingest.ingest_bulk import ingest


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_SETTLING_SECONDS", 0.0)


def legal(ledger: Ledger) -> Caller:
    return Caller(ledger, "legal", time.time())


def accept(ledger: Ledger, *events: dict[str, Any]) -> list[int]:
    return shops.accept(ledger, events, received_at=time.time())


@pytest.fixture
def known(ledger: Ledger) -> Ledger:
    """Know Kim by everything that is stored, and another person by an event."""
    place(ledger)
    with ledger.write() as connection:
        debug_inputs.set_debugging(connection, "src_shop", time.time() + 60)
    ingest(ledger, accept(ledger, identify("kims", KIM), order("sent", anonymousId="kims"), order("l", LEE)))
    (parked, _) = accept(ledger, order("waits", KIM), order("other", LEE))
    with ledger.write() as connection:
        inbox.park_event(connection, parked, "why not")
    return ledger


ASKED = [
    {"emails": [KIM]},
    {"email_hashes": [hash_value("em", KIM) or ""]},
    {"anonymous_ids": ["kims"], "emails": [KIM]},
]


@pytest.mark.parametrize("asked", ASKED, ids=[" ".join(asked) for asked in ASKED])
def test_an_export_has_everything_of_the_person_and_nothing_of_others(
    known: Ledger, asked: dict[str, list[str]]
) -> None:
    before = rows(known)
    kept = person_requests.export_person(legal(known), person_requests.read_request(**asked))
    text = json.dumps(kept)
    assert kept["events"][0]["data"]["event"]["context"]["traits"] == {"email": KIM}
    assert kept["events"][0]["parked_reason"] == "why not"
    assert [one["data"]["traits"]["em"] for one in kept["visitors"]] == [[hash_value("em", KIM)]]
    assert [one["event_id"] for one in kept["deliveries"]] == ["sent"]
    assert kept["deliveries"][0]["data"]["user_data"]["em"] == [hash_value("em", KIM)]
    assert kept["debugged"][0]["data"]["event"]["traits"] == {"email": KIM}
    assert LEE not in text
    assert (hash_value("em", LEE) or "") not in text
    assert rows(known) == before


def rows(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as connection:
        return {
            name: len(connection.execute(select(table)).all())
            for name, table in metadata.tables.items()
            if name not in ("audit", "person_request")
        }


def test_a_request_is_proved_by_who_asked_and_names_the_person_only_to_those_who_know_them(
    known: Ledger,
) -> None:
    kim = person_requests.read_request(emails=[KIM])
    person_requests.export_person(legal(known), kim)
    person_requests.suppress_person(legal(known), kim, wait_seconds=0.0)
    person_requests.allow_person(legal(known), kim)
    person_requests.erase_person(legal(known), person_requests.read_request(emails=[LEE]), wait_seconds=0.0)
    person_requests.erase_person(
        legal(known), person_requests.read_request(emails=["no@example.com"]), dry_run=True
    )
    recorded = person_requests.list_requests(legal(known), 10)
    assert [one.kind for one in recorded] == ["erase", "allow", "suppress", "export"]
    assert {one.actor for one in recorded} == {"legal"}
    assert [one.kind for one in person_requests.list_requests(legal(known), 10, None, kim)] == [
        "allow",
        "suppress",
        "export",
    ]
    suppressed = recorded[2].counts
    assert (suppressed["events"], suppressed["visitors"], suppressed["deliveries_pending"]) == (1, 1, 1)
    text = json.dumps([asdict(one) for one in recorded])
    for secret in (KIM, LEE, hash_value("em", KIM) or "", hash_value("em", LEE) or ""):
        assert secret not in text


def test_a_restored_copy_forgets_again_whom_the_recorded_requests_name(known: Ledger) -> None:
    copied = copy(known)
    for kind, email in (("suppress", KIM), ("erase", LEE)):
        person = person_requests.read_request(emails=[email])
        getattr(person_requests, f"{kind}_person")(legal(known), person, wait_seconds=0.0)
    recorded = [asdict(one) for one in reversed(person_requests.list_requests(legal(known), 10))]
    restore(known, copied)
    assert names(known, KIM)
    assert names(known, LEE)

    assert person_requests.repeat_requests(legal(known), recorded) == {"suppress": 1, "erase": 1}
    assert not names(known, KIM)
    assert not names(known, LEE)
    ingest(known, accept(known, order("new of kim", KIM), order("new of lee", LEE)))
    with known.read() as connection:
        ids = set(connection.scalars(select(delivery.c.event_id)))
    assert {"new of lee"} == {one for one in ids if one.startswith("new")}
    # Repeated, it does nothing: what came since is kept.
    assert person_requests.repeat_requests(legal(known), recorded) == {}
    assert names(known, LEE)


def copy(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    with ledger.read() as connection:
        return {
            name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for name, table in metadata.tables.items()
        }


def restore(ledger: Ledger, copied: dict[str, list[dict[str, Any]]]) -> None:
    with ledger.write() as connection:
        for name, table in metadata.tables.items():
            connection.execute(delete(table))
            if copied[name]:
                connection.execute(insert(table), copied[name])
        assert connection.execute(select(person_request)).all() == []
        assert connection.execute(select(suppression)).all() == []


@pytest.mark.parametrize(
    "line", [{}, {"at": 1.0, "kind": "erase", "keys": ["x"], "counts": {}, "actor": "a"}]
)
def test_a_line_that_is_no_recorded_request_is_refused_and_none_is_carried_out(
    known: Ledger, line: dict[str, Any]
) -> None:
    good = {"at": 1.0, "kind": "erase", "keys": ["ab"], "counts": {}, "actor": "a"}
    with pytest.raises(InvalidError, match="line 2"):
        person_requests.repeat_requests(legal(known), [good, line])
    assert person_requests.list_requests(legal(known), 10) == []


def test_a_device_alone_suppresses_what_it_sends(known: Ledger) -> None:
    person_requests.suppress_person(
        legal(known), person_requests.read_request(anonymous_ids=["new"]), wait_seconds=0.0
    )
    event = order("anonymous", anonymousId="new", context=GRANTED | {"userAgent": "M", "ip": "203.0.113.9"})
    ingest(known, accept(known, event))
    with known.read() as connection:
        assert "anonymous" not in set(connection.scalars(select(delivery.c.event_id)))


def test_a_forged_link_erases_and_exports_nothing_that_signed_calls_said(ledger: Ledger) -> None:
    """Kim says with a public call that the customer lee is Kim, and asks for everything."""
    place(ledger)
    phone = {"type": "identify", "messageId": "s", "userId": "lee", "traits": {"phone": "+4915112345678"}}
    for trust, event in (
        (Trust.SIGNED, phone),
        (Trust.SIGNED, order("before", userId="lee")),
        (Trust.PUBLIC, {**phone, "messageId": "p", "traits": {"email": KIM}}),
    ):
        ingest(ledger, shops.accept(ledger, [event], received_at=time.time(), trust=trust))
    exported = person_requests.export_person(legal(ledger), person_requests.read_request(emails=[KIM]))
    assert [event["event_id"] for event in exported["deliveries"]] == []
    (visitor,) = exported["visitors"]
    assert visitor["data"]["traits"] == {"em": [hash_value("em", KIM)]}
    assert "signed" not in visitor["data"]

    person_requests.erase_person(legal(ledger), person_requests.read_request(emails=[KIM]), wait_seconds=0.0)
    with ledger.read() as connection:
        assert list(connection.scalars(select(delivery.c.event_id))) == ["before"]
        (body,) = connection.scalars(select(visitor_table.c.body))
    record = json.loads(ledger.vault.open(body, visitors.BODY))
    assert record["traits"] == record["signed"]["traits"] == {"ph": [hash_value("ph", "+4915112345678")]}
    exported = person_requests.export_person(legal(ledger), person_requests.read_request(emails=[KIM]))
    assert exported["visitors"] == []


def test_every_surface_takes_every_kind_of_identifier() -> None:
    kinds = set(person_requests.IDENTIFIER_KINDS)
    form = Path(page.__file__).parents[1].joinpath("templates", "person.html").read_text()
    assert set(cli_person._OPTIONS) == kinds
    assert set(_PersonBody._declared_fields) == kinds
    assert set(re.findall(r"f\.area\(form, '(\w+)'", form)) == kinds
