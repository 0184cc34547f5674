"""The oldest waiting events of each source are found, signed and public ones apart."""

from tests.ledger.shop import NOW, place
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox, leases
from worker.ledger.intake.inbox import Accepted
from worker.ledger.intake.leases import InboxGroup, WaitingGroup

SIGNED, PUBLIC = Trust.SIGNED, Trust.PUBLIC


def wait(ledger: Ledger, source_id: str, trust: Trust, *received_at: float) -> list[int]:
    events = [Accepted(source_id, None, None, False, at, b"x", trust) for at in received_at]
    with ledger.write() as connection:
        return inbox.accept_events(connection, events, NOW)


def test_each_group_is_found_by_its_oldest_event_the_longest_waiting_first(ledger: Ledger) -> None:
    for source_id in ("src_a", "src_b", "src_idle"):
        place(ledger, source_id)
    wait(ledger, "src_a", PUBLIC, NOW - 9, NOW - 30, NOW - 1)
    wait(ledger, "src_a", SIGNED, NOW - 5)
    wait(ledger, "src_b", SIGNED, NOW - 20)
    wait(ledger, "src_b", PUBLIC, NOW - 0.1)
    with ledger.read() as connection:
        found = leases.waiting_groups(connection, NOW - 0.5)
    assert found == [
        WaitingGroup(InboxGroup("src_a", PUBLIC), NOW - 30),
        WaitingGroup(InboxGroup("src_b", SIGNED), NOW - 20),
        WaitingGroup(InboxGroup("src_a", SIGNED), NOW - 5),
    ]


def test_parked_events_are_in_no_group(ledger: Ledger) -> None:
    place(ledger, "src_a")
    first, second = wait(ledger, "src_a", SIGNED, NOW - 9, NOW - 8)
    with ledger.write() as connection:
        inbox.park_event(connection, first, "It cannot be opened.")
        assert leases.waiting_groups(connection, NOW) == [WaitingGroup(InboxGroup("src_a", SIGNED), NOW - 8)]
        assert leases.oldest_ids(connection, [InboxGroup("src_a", SIGNED)], NOW, 5) == [[second]]


def test_one_query_returns_the_oldest_ids_of_several_groups(ledger: Ledger) -> None:
    a = wait(ledger, "src_a", PUBLIC, NOW - 7, NOW - 9, NOW - 8)
    b = wait(ledger, "src_b", SIGNED, NOW - 5, NOW)
    groups = [InboxGroup("src_b", SIGNED), InboxGroup("src_none", SIGNED), InboxGroup("src_a", PUBLIC)]
    with ledger.read() as connection:
        assert leases.oldest_ids(connection, groups, NOW - 1, 2) == [[b[0]], [], [a[1], a[2]]]
        assert leases.oldest_ids(connection, [], NOW, 2) == []
