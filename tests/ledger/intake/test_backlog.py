"""The oldest waiting events of each source are found, signed and public apart."""

from tests.ledger.shop import NOW, place
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.intake import backlog, inbox
from worker.ledger.intake.backlog import Group, Head
from worker.ledger.intake.inbox import Accepted

SIGNED, PUBLIC = Trust.SIGNED, Trust.PUBLIC


def wait(ledger: Ledger, source_id: str, trust: Trust, *received_at: float) -> list[int]:
    events = [Accepted(source_id, None, None, False, at, b"x", trust) for at in received_at]
    with ledger.write() as connection:
        return inbox.accept(connection, events, NOW)


def test_each_group_is_found_by_its_oldest_event_the_longest_waiting_first(ledger: Ledger) -> None:
    for source_id in ("src_a", "src_b", "src_idle"):
        place(ledger, source_id)
    wait(ledger, "src_a", PUBLIC, NOW - 9, NOW - 30, NOW - 1)
    wait(ledger, "src_a", SIGNED, NOW - 5)
    wait(ledger, "src_b", SIGNED, NOW - 20)
    wait(ledger, "src_b", PUBLIC, NOW - 0.1)
    with ledger.read() as connection:
        found = backlog.heads(connection, NOW - 0.5)
    assert found == [
        Head(Group("src_a", PUBLIC), NOW - 30),
        Head(Group("src_b", SIGNED), NOW - 20),
        Head(Group("src_a", SIGNED), NOW - 5),
    ]


def test_parked_events_wait_for_nobody(ledger: Ledger) -> None:
    place(ledger, "src_a")
    first, second = wait(ledger, "src_a", SIGNED, NOW - 9, NOW - 8)
    with ledger.write() as connection:
        inbox.park(connection, first, "It cannot be opened.")
        assert backlog.heads(connection, NOW) == [Head(Group("src_a", SIGNED), NOW - 8)]
        assert backlog.oldest(connection, [Group("src_a", SIGNED)], NOW, 5) == [[second]]


def test_the_oldest_ids_of_several_groups_come_in_one_answer(ledger: Ledger) -> None:
    a = wait(ledger, "src_a", PUBLIC, NOW - 7, NOW - 9, NOW - 8)
    b = wait(ledger, "src_b", SIGNED, NOW - 5, NOW)
    groups = [Group("src_b", SIGNED), Group("src_none", SIGNED), Group("src_a", PUBLIC)]
    with ledger.read() as connection:
        assert backlog.oldest(connection, groups, NOW - 1, 2) == [[b[0]], [], [a[1], a[2]]]
        assert backlog.oldest(connection, [], NOW, 2) == []
