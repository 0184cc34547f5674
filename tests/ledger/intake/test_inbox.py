"""The inbox keeps an event until exactly one worker has written its deliveries."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import delete, event, select, text

from tests.conftest import KEY
from tests.ledger.shop import NOW, accept, close
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.intake.inbox import Accepted
from worker.ledger.reports import tallies
from worker.ledger.schema import inbox as inbox_table
from worker.ledger.schema import tally


def some(ledger: Ledger, count: int) -> list[int]:
    return accept(ledger, [{"type": "track", "event": "x"} for _ in range(count)])


def plain(body: bytes, **keys: bytes) -> Accepted:
    return Accepted(
        "src_shop", keys.get("anonymous"), keys.get("user"), keys.get("informs") is None, NOW, body
    )


def test_ids_come_in_the_order_of_the_events(ledger: Ledger) -> None:
    bodies = [str(number).encode() for number in range(1_200)]
    with ledger.write() as connection:
        ids = inbox.accept_events(connection, [plain(body) for body in bodies], NOW)
    with ledger.read() as connection:
        rows = inbox.load_events(connection, list(reversed(ids)))
    assert ids == sorted(ids)
    assert bodies == [row.body for row in rows]


@pytest.mark.parametrize("count", [0, 1, 6, 7])
def test_events_in_a_transaction_of_their_own_are_stored_and_counted_like_any_others(
    ledger: Ledger, count: int
) -> None:
    events = [
        replace(
            plain(str(number).encode(), **({"user": b"u"} if number % 2 else {"anonymous": b"a"})),
            source_id=f"src_{number % 2}",
            informs=number % 3 == 0,
            trust=Trust(number % 2),
        )
        for number in range(count)
    ]
    ids = inbox.accept_at_once(ledger, events, NOW)
    at_once = rows_of(ledger)
    with ledger.write() as connection:
        inbox.take_events(connection, ids)
        connection.execute(delete(tally))
        inbox.accept_events(connection, events, NOW)
    assert ids == sorted(ids)
    assert len(ids) == count
    assert at_once == rows_of(ledger)


def rows_of(ledger: Ledger) -> list[tuple[Any, ...]]:
    """Return the events in the order of their ids, and the counts, without ids."""
    waiting = select(*(column for column in inbox_table.c if column.name != "id")).order_by(inbox_table.c.id)
    counts = select(*(column for column in tally.c if column.name != "id")).order_by(tally.c.source_id)
    with ledger.read() as connection:
        return [tuple(row) for query in (waiting, counts) for row in connection.execute(query)]


@pytest.mark.services
@pytest.mark.parametrize(("count", "has_pooler", "steps"), [(3, False, 1), (7, False, 3), (3, True, 3)])
def test_a_few_events_take_one_statement_without_a_transaction_around_it(
    postgresql_url: str, count: int, has_pooler: bool, steps: int
) -> None:
    """Through a pooler the limits of a transaction precede it."""
    ledger = Ledger(postgresql_url, (KEY,), transaction_pooler=has_pooler)
    seen: list[str] = []
    event.listen(ledger.write_engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    event.listen(ledger.write_engine, "commit", lambda _: seen.append("COMMIT"))
    try:
        inbox.accept_at_once(ledger, [plain(b"x")] * count, NOW)
    finally:
        ledger.dispose()
    assert len(seen) == steps


def test_a_statement_of_its_own_is_a_write(ledger: Ledger) -> None:
    with ledger.write(one_statement=True):
        assert ledger.is_writing
    assert not ledger.is_writing


def test_accepting_nothing_is_no_error(ledger: Ledger) -> None:
    assert accept(ledger, []) == []


def test_an_id_is_never_used_again(ledger: Ledger) -> None:
    first = some(ledger, 3)
    with ledger.write() as connection:
        inbox.take_events(connection, first)
    (second,) = some(ledger, 1)
    assert second > max(first)


def test_loading_and_taking_events_twice_is_harmless(ledger: Ledger) -> None:
    ids = some(ledger, 3)
    with ledger.write() as connection:
        assert set(ids) == inbox.take_events(connection, [*ids, 999_999])
        assert set() == inbox.take_events(connection, ids)
        assert inbox.load_events(connection, ids) == []


def test_each_event_is_taken_by_one_of_two_workers(ledger: Ledger) -> None:
    ids = some(ledger, 300)
    together = Barrier(4)

    def take(number: int) -> set[int]:
        mine = ids[number * 40 :] + ids[: number * 40]
        together.wait()
        taken: set[int] = set()
        for start in range(0, len(mine), 25):
            with ledger.write() as connection:
                taken |= inbox.take_events(connection, mine[start : start + 25])
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = Counter(one for mine in pool.map(take, range(4)) for one in mine)
    assert dict.fromkeys(ids, 1) == dict(taken)


def test_a_rollback_leaves_the_event_to_others(ledger: Ledger) -> None:
    ids = some(ledger, 2)
    with suppress(KeyError), ledger.write() as connection:
        inbox.take_events(connection, ids)
        raise KeyError
    with ledger.write() as connection:
        assert set(ids) == inbox.take_events(connection, ids)


def test_earlier_events_that_inform_about_a_visitor_are_found_by_either_key(ledger: Ledger) -> None:
    with ledger.write() as connection:
        ids = inbox.accept_events(
            connection,
            [
                plain(b"device", anonymous=b"a"),
                plain(b"person", user=b"u"),
                plain(b"somebody else", anonymous=b"z", user=b"y"),
                plain(b"tells nothing", anonymous=b"a", informs=b"no"),
                plain(b"asking", anonymous=b"a", user=b"u"),
                plain(b"later", anonymous=b"a"),
            ],
            NOW,
        )
        found = inbox.informing_events(connection, {b"a", b"u"}, ids[4])
        assert [row.body for row in found] == [b"device", b"person"]
        assert inbox.informing_events(connection, [], ids[4]) == []


def test_of_many_public_events_of_one_visitor_the_newest_inform_and_every_signed_one_does(
    ledger: Ledger,
) -> None:
    """Anybody can send thousands for a user id, and each order of that user would have to read them all."""
    most = inbox._MAX_PUBLIC_INFORMING
    events = [replace(plain(b"signed", user=b"u"), trust=Trust.SIGNED), plain(b"other", user=b"v")]
    events += [plain(b"%d" % number, user=b"u") for number in range(most + 20)]
    with ledger.write() as connection:
        ids = inbox.accept_events(connection, events, NOW)
        found = inbox.informing_events(connection, {b"u", b"v"}, ids[-1] + 1)
    newest = [b"%d" % number for number in range(20, most + 20)]
    assert [row.body for row in found] == [b"signed", b"other", *newest]


def test_events_inform_about_keys_that_other_waiting_events_link(ledger: Ledger) -> None:
    """A person's e-mail address came from one device, and the order comes from another."""
    chain = [plain(b"%d" % n, user=b"u%d" % (n // 2), anonymous=b"d%d" % ((n + 1) // 2)) for n in range(20)]
    with ledger.write() as connection:
        ids = inbox.accept_events(connection, chain, NOW)
        found = inbox.informing_events(connection, {b"d10"}, ids[-1] + 1)
        assert [row.body for row in found] == [b"%d" % n for n in range(19 - inbox._MAX_LINKS, 20)]


def test_public_events_that_link_many_keys_do_not_hide_a_signed_link(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "_MAX_LINKED_KEYS", 3)
    flood = [plain(b"%d" % n, user=b"u", anonymous=b"x%d" % n) for n in range(9)]
    signed = [plain(b"far", user=b"v"), plain(b"link", anonymous=b"d", user=b"v")]
    events = [
        *signed[:1],
        *flood,
        replace(signed[1], trust=Trust.SIGNED),
        plain(b"d", anonymous=b"d", user=b"u"),
    ]
    with ledger.write() as connection:
        ids = inbox.accept_events(connection, events, NOW)
        found = inbox.informing_events(connection, {b"d"}, ids[-1] + 1)
    assert {b"far", b"link"} <= {row.body for row in found}


def test_a_parked_event_is_left_alone_until_it_is_unparked(ledger: Ledger) -> None:
    ids = some(ledger, 3)
    with ledger.write() as connection:
        inbox.park_event(connection, ids[1], "It cannot be opened.")
        assert [ids[0], ids[2]] == [row.id for row in inbox.load_events(connection, ids)]
        assert [ids[0], ids[2]] == inbox.ids_between(connection, ids[0], ids[2])
        assert [ids[0], ids[2]] == inbox.overdue_ids(connection, 0, NOW + 1, 10)
        assert inbox.count_waiting(connection) == 3
        assert inbox.unpark_events(connection) == 1
        assert ids == inbox.overdue_ids(connection, 0, NOW + 1, 10)


@pytest.mark.parametrize(
    ("received_at", "expected"),
    [
        (NOW - 6, True),
        (NOW - 4, False),
        # Two machines' clocks differ a little.
        (NOW + 30, False),
        # The clock was an hour ahead when this was received.
        (NOW + 3_600, True),
    ],
)
def test_an_event_received_long_ago_is_overdue(ledger: Ledger, received_at: float, expected: bool) -> None:
    ids = accept(ledger, [{"type": "track"}], received_at=received_at)
    with ledger.read() as connection:
        assert (ids if expected else []) == inbox.overdue_ids(connection, 0, NOW - 5, 10)


def test_the_books_count_accepted_events(ledger: Ledger) -> None:
    some(ledger, 5)
    assert {state: n for state, n in close(ledger).events.items() if n} == {"inbox": 5}
    with ledger.read() as connection:
        assert tallies.tally_totals(connection)[tallies.ACCEPTED] == 5
        waiting = inbox.backlogs(connection, ["src_other", "src_shop"])
        assert dict(waiting) == {("src_shop", Trust.PUBLIC): 5}


def test_nothing_of_an_event_is_readable_in_the_database(ledger: Ledger) -> None:
    accept(ledger, [{"type": "track", "anonymousId": "visitor-77", "traits": {"email": "jo@example.com"}}])
    with ledger.read() as connection:
        row = connection.execute(text("SELECT * FROM inbox")).one()
    assert not any(word in repr(tuple(row)) for word in ("visitor-77", "jo@example.com", "traits"))
