"""Find and erase a person: in the inbox, among visitors and among deliveries, while everything else goes on."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from worker.event import json_text
from worker.event.received import Trust
from worker.formats import count_text
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.intake import inbox, visitors
from worker.ledger.rows import chunks
from worker.ledger.setup import audit_log
from worker.ledger.upkeep import person_rows, suppressed_persons
from worker.ledger.upkeep.person_rows import PersonalRow, ReducedPayload
from worker.ledger.vault import SealError
from worker.pinterest.mapping.contract import has_identity
from worker.pinterest.user_data.person_matching import (
    KeyedPerson,
    Person,
    all_email_hashes_in,
    split_payload,
    split_record,
)

_ROWS_A_STEP = 500
# What a worker held before a round began is written down by then, and the next round finds it.
_SETTLING_SECONDS = 3.0
# Each round finds what the one before made findable; a person with more links than this does not exist.
_MOST_ROUNDS = 100
# A deadlock with another writer, or its long transaction.
_MOST_TRIES = 5
_PAUSE_SECONDS = 0.5

# A click id names no person, and anyone can send a public call with one for a device.
_CLICK_IDS = ("click_id", "partner_id")

_INBOX, _VISITORS, _DELIVERIES, _REDUCED = "inbox", "visitors", "deliveries", "reduced"
_Page = Callable[[Connection, Any, int], list[PersonalRow]]
_PARTS: dict[str, tuple[_Page, Any, bytes]] = {
    # An event that leaves the inbox becomes deliveries, and its identity a visitor.
    _INBOX: (person_rows.inbox_rows_after, 0, inbox.BODY),
    _VISITORS: (person_rows.visitor_rows_after, b"", visitors.BODY),
    _DELIVERIES: (person_rows.delivery_rows_after, 0, PAYLOAD),
}


@dataclass(frozen=True, slots=True)
class ErasureOptions:
    """Hold who asks, the kinds of identifiers, whether it only counts, and how long to wait for batches being sent.

    ``proof`` has the keyed hashes of the identifiers, for the record of the request. ``suppression_id`` is the id of
    the record if the person is suppressed too.
    """

    actor: str
    identifier_kinds: tuple[str, ...]
    proof: tuple[str, ...] = ()
    suppression_id: int | None = None
    dry_run: bool = False
    wait_seconds: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    # Called with the number of rows after each step of the first round.
    progress: Callable[[int], object] = lambda _rows: None


@dataclass(slots=True)
class ErasureReport:
    """Count what was erased, or would be.

    The counts of deliveries are by their former state. ``being_sent`` were being sent to Pinterest all the time.
    ``unreadable`` rows could not be decrypted, so it is unknown whose they are.
    """

    events: int = 0
    visitors: int = 0
    deliveries_by_state: Counter[str] = field(default_factory=Counter)
    being_sent: int = 0
    unreadable: int = 0
    # Entries of the live debugger, of all persons.
    debugged: int = 0
    rounds: int = 0
    # The ids of the rows by their part, and keyed hashes of the visitors and e-mails found to be theirs.
    found: dict[str, set[Any]] = field(default_factory=dict)
    keys: set[bytes] = field(default_factory=set)
    # The visitors of whom signed calls said something, and only public ones that they are this person.
    linked: set[bytes] = field(default_factory=set)
    # The signed deliveries that were kept without this person's data, which they had only from public calls.
    reduced: set[int] = field(default_factory=set)
    # That data, of those that have it.
    parts: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def deliveries(self) -> int:
        return self.deliveries_by_state.total()

    def sentence_part(self) -> str:
        """Return the numbers of rows, to be part of a sentence."""
        counts = (
            count_text(self.events, "waiting event"),
            count_text(self.visitors, "visitor"),
            count_text(self.deliveries, "delivery", "deliveries"),
        )
        return ", ".join(counts)

    def counts(self) -> dict[str, int]:
        """Return the figures, for the audit log and for answers."""
        by_state = {f"deliveries_{word}": n for word, n in sorted(self.deliveries_by_state.items())}
        extra = {"deliveries_kept_without_data_of_public_calls": len(self.reduced)} if self.reduced else {}
        figures = {"events": self.events, "visitors": self.visitors, **by_state, **extra}
        return figures | {"being_sent": self.being_sent, "debugged": self.debugged}


@dataclass(slots=True)
class _Search:
    """Hold what is known so far: the person, the keys and e-mails that turned out to be theirs, the rows found."""

    person: Person | KeyedPerson
    keys: set[bytes]
    emails: set[str]
    # What signed calls link to the person, or the request names. Anyone can send a public call that gives two persons
    # one record: what only that one links leads to no signed event.
    proven: set[bytes]
    signed_emails: set[str] = field(default_factory=set)
    # The sealed bodies of visitors that are the person's by public calls only, and of what signed calls said of them.
    linked: dict[bytes, tuple[bytes, dict[str, Any]]] = field(default_factory=dict)
    # The signed deliveries that name the person only in fields of public calls, without these, and these.
    reduced: dict[int, tuple[ReducedPayload, dict[str, Any]]] = field(default_factory=dict)
    found: dict[str, set[Any]] = field(default_factory=lambda: {part: set() for part in (*_PARTS, _REDUCED)})
    unreadable: set[tuple[str, Any]] = field(default_factory=set)


def erase_rows(ledger: Ledger, person: Person | KeyedPerson, options: ErasureOptions) -> ErasureReport:
    """Erase a person everywhere, or count what would be erased. Safe to repeat.

    Rounds go over everything until one finds nothing new: a worker may just have turned an event of the inbox
    into a delivery. A row that names the person also names a device, and all rows of that device are the person's.
    """
    search = _Search(person, set(person.keys), set(person.emails), set(person.keys))
    report = ErasureReport()
    give_up_at = time.monotonic() + options.wait_seconds
    while report.rounds < _MOST_ROUNDS:
        keys_before = len(search.keys)
        count = _round(ledger, search, options, report)
        report.rounds += 1
        is_settled = count == 0 and len(search.keys) == keys_before
        waits = report.being_sent > 0 and not options.dry_run and time.monotonic() < give_up_at
        if is_settled and not waits:
            break
        if not options.dry_run:
            options.sleep(_SETTLING_SECONDS)
    report.unreadable, report.found = len(search.unreadable), search.found
    of_emails = {suppressed_persons.identifier_key(ledger.vault, digest) for digest in search.signed_emails}
    of_public = {suppressed_persons.public_key(ledger.vault, key) for key in search.keys - search.proven}
    report.keys, report.linked = search.proven | of_public | of_emails, set(search.linked)
    report.parts = {row_id: fields for row_id, (_, fields) in search.reduced.items()}
    if options.dry_run:
        with ledger.read() as connection:
            report.debugged = person_rows.count_debug_inputs(connection)
            for chunk in chunks(sorted(search.reduced)):
                new = {row_id: search.reduced[row_id][0] for row_id in chunk}
                preview = person_rows.preview_erasure(connection, chunk, new)
                report.deliveries_by_state += preview.by_state
                report.being_sent += len(preview.being_sent)
                report.reduced |= preview.reduced
    else:
        _write(ledger, lambda connection: _finish(connection, options, report, ledger.now()))
    return report


def _round(ledger: Ledger, search: _Search, options: ErasureOptions, report: ErasureReport) -> int:
    """Go over everything once; return how many rows were found that were not found before."""
    count, being_sent = 0, 0
    for part in _PARTS:
        for step in _steps(ledger, part):
            own_ids = [row.id for row in step if _is_persons(ledger, search, part, row)]
            reduced_ids = [row.id for row in step if part == _DELIVERIES and row.id in search.reduced]
            new_ids = [row_id for row_id in own_ids if row_id not in search.found[part]]
            if options.dry_run:
                being_sent += _look(ledger, part, new_ids, report) if new_ids else 0
            elif own_ids or reduced_ids:
                being_sent += _take(ledger, part, own_ids, reduced_ids, search, report)
            count += len(new_ids) + len(set(reduced_ids) - search.found[_REDUCED])
            search.found[part].update(new_ids)
            search.found[_REDUCED].update(reduced_ids)
            if report.rounds == 0:
                options.progress(len(step))
    report.being_sent = being_sent if not options.dry_run else report.being_sent + being_sent
    return count


def _steps(ledger: Ledger, part: str) -> Iterator[list[PersonalRow]]:
    page, after, _ = _PARTS[part]
    while True:
        with ledger.read() as connection:
            step = page(connection, after, _ROWS_A_STEP)
        if not step:
            return
        after = step[-1].id
        yield step


def _is_persons(ledger: Ledger, search: _Search, part: str, row: PersonalRow) -> bool:
    """Return whether a row is the person's, and collect its other identifiers.

    A signed delivery that only public calls make the person's is noted in ``search.reduced`` instead.
    """
    text = _open(ledger, search, part, row)
    appears = text is not None and search.person.appears_in(text)
    own = _own_text(part, row, text, appears=appears)
    is_named = row.user_key in search.person.keys
    says_so = is_named or (appears and own is not None and (own is text or search.person.appears_in(own)))
    signed, public = None, text
    if part == _VISITORS and text is not None and (says_so or row.id in search.keys):
        signed, of_public = split_record(json_text.parse_json(text))
        public = json_text.format_json(of_public) if signed is not None else text
    if says_so:
        _collect(search, part, row, signed, public, is_named=is_named)
    is_persons = says_so or row.anonymous_key in search.person.keys
    if not is_persons:
        keys = search.proven if row.trust == Trust.SIGNED else search.keys
        # Rows of other identified persons on the person's device stay.
        is_linked = row.user_key in keys or (row.anonymous_key in keys and row.user_key is None)
        is_persons = is_linked and _names_no_other_person(search, own)
    if part == _VISITORS:
        search.linked.pop(row.id, None)
    if is_persons and signed is not None and row.body is not None and row.id not in search.proven:
        search.linked[row.id] = row.body, signed
    if part == _DELIVERIES:
        search.reduced.pop(row.id, None)
        if appears and not is_persons and text is not None and row.body is not None:
            search.reduced[row.id] = _reduce(ledger, search, row, row.body, text)
    return is_persons


def _own_text(part: str, row: PersonalRow, text: bytes | None, *, appears: bool) -> bytes | None:
    """Return what says whose row it is: of a signed delivery, nothing that only public calls gave."""
    if text is None or part != _DELIVERIES or row.trust != Trust.SIGNED:
        return text
    if not appears and row.public_fields is None:
        return text
    rest, fields = split_payload(text, {*_public_fields(row), *_CLICK_IDS})
    return json_text.format_json(rest) if fields else text


def _public_fields(row: PersonalRow) -> list[str]:
    return row.public_fields.split(",") if row.public_fields else []


def _reduce(
    ledger: Ledger, search: _Search, row: PersonalRow, old: bytes, text: bytes
) -> tuple[ReducedPayload, dict[str, Any]]:
    """Return a delivery without the fields of public calls that name the person, and these fields."""
    fields, public_fields = set(_public_fields(row)), None
    if not search.person.appears_in(json_text.format_json(split_payload(text, fields)[1])):
        # Public calls gave it the data of another person, too.
        fields, public_fields = set(), row.public_fields
    for name in _CLICK_IDS:
        if search.person.appears_in(json_text.format_json(split_payload(text, {name})[1])):
            fields.add(name)
    rest, cut_fields = split_payload(text, fields)
    new = json_text.format_json(rest)
    sealed = ledger.vault.seal(new, PAYLOAD)
    return ReducedPayload(old, sealed, len(new), public_fields, has_identity(rest["user_data"])), cut_fields


def _collect(
    search: _Search,
    part: str,
    row: PersonalRow,
    signed: Mapping[str, Any] | None,
    public: bytes | None,
    *,
    is_named: bool,
) -> None:
    """Note the keys of a row that names the person, and the e-mails of a visitor.

    Of a visitor, ``signed`` is what signed calls said, and ``public`` the rest, or the whole if they said nothing.
    """
    own_keys = {key for key in (row.anonymous_key, row.user_key) if key is not None}
    search.keys |= own_keys
    # A delivery may have the address from a public call.
    by_signed = part == _INBOX and row.trust == Trust.SIGNED
    of_signed = b"null"
    if signed is not None:
        # Without click ids, which also come from public events.
        of_signed = json_text.format_json({name: signed.get(name) for name in ("traits", "user_id")})
        by_signed = search.person.appears_in(of_signed)
    if by_signed or (is_named and row.trust != Trust.PUBLIC):
        search.proven |= own_keys
    elif is_named and row.user_key is not None:
        # Anyone can send a public call that gives this account another device.
        search.proven.add(row.user_key)
    if part == _VISITORS and public is not None:
        search.emails.update(all_email_hashes_in(public))
        if is_named or by_signed:
            of_person = all_email_hashes_in(of_signed)
            search.emails |= of_person
            search.signed_emails |= of_person


def _names_no_other_person(search: _Search, text: bytes | None) -> bool:
    digests = all_email_hashes_in(text) if text is not None else set()
    return not digests or not digests.isdisjoint(search.emails)


def _open(ledger: Ledger, search: _Search, part: str, row: PersonalRow) -> bytes | None:
    if row.body is None:
        return None
    try:
        return ledger.vault.open(row.body, _PARTS[part][2])
    except SealError:
        search.unreadable.add((part, row.id))
        return None


def _take(
    ledger: Ledger,
    part: str,
    ids: Sequence[Any],
    reduced: Sequence[int],
    search: _Search,
    report: ErasureReport,
) -> int:
    """Erase rows of one part; return how many were being sent.

    Of ``linked`` visitors, what signed calls said is kept, and of ``reduced`` deliveries what public calls did not say.
    """
    now = ledger.now()
    if part == _INBOX:
        report.events += _write(ledger, lambda connection: person_rows.erase_events(connection, ids, now))
    elif part == _VISITORS:
        whole_ids = [key for key in ids if key not in search.linked]
        report.visitors += _write(ledger, lambda connection: visitors.delete_visitors(connection, whole_ids))
        for key in ids:
            if key in search.linked:
                _keep_signed(ledger, key, *search.linked[key])
    else:
        all_ids, payloads = [*ids, *reduced], {row_id: search.reduced[row_id][0] for row_id in reduced}
        erased = _write(
            ledger,
            lambda connection: person_rows.erase_deliveries(connection, ledger.vault, all_ids, now, payloads),
        )
        report.deliveries_by_state += erased.by_state
        report.reduced |= erased.reduced
        # A delivery may turn out to be the person's by a signed call that was found later.
        report.reduced -= set(ids) - erased.being_sent
        return len(erased.being_sent)
    return 0


def _keep_signed(ledger: Ledger, key: bytes, old: bytes, signed: Mapping[str, Any]) -> None:
    new = ledger.vault.seal(json_text.format_json(signed), visitors.BODY)
    _write(ledger, lambda connection: visitors.replace_visitor(connection, key, old, new))


def _look(ledger: Ledger, part: str, ids: Sequence[Any], report: ErasureReport) -> int:
    if part == _INBOX:
        report.events += len(ids)
    elif part == _VISITORS:
        report.visitors += len(ids)
    else:
        with ledger.read() as connection:
            preview = person_rows.preview_erasure(connection, ids)
        report.deliveries_by_state += preview.by_state
        return len(preview.being_sent)
    return 0


def _write(ledger: Ledger, change: Callable[[Connection], Any]) -> Any:
    for _ in range(_MOST_TRIES - 1):
        try:
            with ledger.write() as connection:
                return change(connection)
        except Exception as error:
            if not is_ledger_unavailable(error):
                raise
            time.sleep(_PAUSE_SECONDS)
    with ledger.write() as connection:
        return change(connection)


def _finish(connection: Connection, options: ErasureOptions, report: ErasureReport, now: float) -> None:
    """Empty the live debugger, and record the request and its figures; the audit log does not name the person."""
    report.debugged = person_rows.delete_debug_inputs(connection)
    counts = report.counts()
    action = "erase" if options.suppression_id is None else "suppress"
    if options.suppression_id is None:
        number = suppressed_persons.add_request(connection, now, options.actor, action, options.proof, counts)
        keys = report.keys | {bytes.fromhex(key) for key in options.proof}
        suppressed_persons.add_erasure(connection, keys, now, number)
    else:
        suppressed_persons.add_suppressions(connection, report.keys, now, options.suppression_id)
        suppressed_persons.complete_request(connection, options.suppression_id, counts)
    changes = {name: [None, n] for name, n in counts.items()}
    audit_log.append_audit_entry(
        connection, now, options.actor, f"person.{action}", ", ".join(options.identifier_kinds), changes
    )
