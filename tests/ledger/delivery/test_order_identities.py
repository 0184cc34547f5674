"""An order is known by each of its ids, and no two orders are taken for one."""

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from tests.ledger.delivery.test_signed_precedence import DELIVERED, bring_to
from tests.ledger.shop import NOW, new, place, write
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.delivery.remembered_ids import OrderIdentity, _KnownKey, _name_order, name_orders
from worker.ledger.intake.visitors import VersionConflictError
from worker.ledger.schema import State, delivery, order_identity
from worker.pipeline.upkeep.purging import purge_expired


def number(value: str, amount: bytes | None = b"20 EUR") -> OrderIdentity:
    """Return how a page names an order."""
    meets = (b"m" + value.encode(),)
    return OrderIdentity((b"n" + value.encode(),), None, (b"i" + value.encode(),), amount, meets)


def system(own: str, *numbers: str, connects: bool = True, amount: bytes | None = b"20 EUR") -> OrderIdentity:
    """Return how a shop's system names an order."""
    keys = (b"i" + own.encode(), *(b"n" + one.encode() for one in numbers))
    meets = (b"m" + own.encode(),)
    return OrderIdentity(keys, keys[0], (b"n" + own.encode(),), amount, meets, connects)


def named(*reports: OrderIdentity) -> list[bytes]:
    known: dict[bytes, _KnownKey] = {}
    return [_name_order(report, known) for report in reports]


@pytest.mark.parametrize(
    ("reports", "orders"),
    [
        ((number("1001"), system("5", "1001")), 1),
        ((system("5", "1001"), number("1001")), 1),
        ((number("5"), system("5", "1001"), number("1001"), number("5")), 1),
        ((system("5", "1001"), number("5")), 1),
        # The page of an order whose number is the id of an earlier order of another amount.
        ((system("5", "1001"), number("5", b"30 EUR")), 2),
        ((system("5", "1001"), number("5", None)), 2),
        ((number("5", None), system("5", "1001", amount=None)), 2),
        # The number of one order is the id of the other.
        ((system("5", "1001"), system("1001", "2002")), 2),
        ((system("5", "1001"), system("6", "1001")), 2),
        ((number("1001"), system("1001", "7"), system("5", "1001")), 2),
        # A public report finds an order by any of its ids, but connects none.
        ((system("5", "1001", "1002", connects=False), system("6", "1001"), number("1002")), 3),
        ((system("5", "1001"), system("5", connects=False)), 1),
    ],
)
def test_reports_name_the_orders_that_they_are_about(reports: tuple[OrderIdentity, ...], orders: int) -> None:
    assert len(set(named(*reports))) == orders


SMALL = st.integers(1, 4).map(str)
SIGNED = st.tuples(SMALL, st.lists(SMALL, max_size=2)).map(lambda one: system(one[0], *one[1]))
PUBLIC = st.tuples(SMALL, st.lists(SMALL, max_size=2)).map(
    lambda one: system(one[0], *one[1], connects=False)
)


@given(st.lists(st.one_of(SIGNED, PUBLIC, SMALL.map(number)), max_size=12))
def test_orders_with_different_ids_of_their_system_are_never_one(reports: list[OrderIdentity]) -> None:
    owners: dict[bytes, set[bytes | None]] = {}
    for report, business_key in zip(reports, named(*reports), strict=True):
        if report.connects:
            owners.setdefault(business_key, set()).add(report.system_key)
    assert all(len(own) == 1 for own in owners.values())


@given(st.lists(st.one_of(SIGNED, PUBLIC, SMALL.map(number)), max_size=8), SIGNED)
def test_an_order_is_one_however_often_its_system_reports_it(
    reports: list[OrderIdentity], last: OrderIdentity
) -> None:
    *_, before, again = named(*reports, last, last)
    assert before == again


@given(st.lists(st.one_of(PUBLIC, SMALL.map(number)), max_size=8), SIGNED, SIGNED)
def test_nothing_public_makes_one_order_of_two(
    forged: list[OrderIdentity], first: OrderIdentity, second: OrderIdentity
) -> None:
    *_, one, other = named(*forged, first, second)
    assert (one == other) == (first.system_key == second.system_key)


@pytest.mark.parametrize("stated", ["number", "id"])
def test_reports_of_one_order_at_once_send_it_once(ledger: Ledger, stated: str) -> None:
    """A page and the shop's system report 20 orders to four workers at the same moment; the page may state the id."""
    shop = place(ledger)
    start = threading.Barrier(4)
    outcomes: Counter[str] = Counter()

    def report(worker: int) -> None:
        start.wait()
        for turn in range(20):
            order = f"{(turn + worker * 5) % 20}"
            page = number(order + "n" if stated == "number" else order)
            names = (page, system(order, order + "n"))
            items = [
                new(
                    ledger,
                    shop,
                    f"{worker} {turn} {place}",
                    order=name,
                    business_key=name.keys[0],
                    trust=Trust.SIGNED,
                )
                for place, name in enumerate(names if worker % 2 else names[1:])
            ]
            for _ in range(50):
                try:
                    outcomes.update(write(ledger, items))
                    break
                except VersionConflictError:
                    continue

    threads = [threading.Thread(target=report, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.read() as connection:
        is_open = delivery.c.state == State.OPEN.value
        assert connection.scalar(select(func.count()).where(is_open)) == 20
        assert connection.scalar(select(func.count(order_identity.c.business_key.distinct()))) == 20


@pytest.mark.parametrize(
    ("first", "second"), [(number("5"), system("5", "1001")), (system("5", "1001"), number("5"))]
)
def test_of_two_reports_at_the_same_moment_the_second_knows_the_first(
    ledger: Ledger, first: OrderIdentity, second: OrderIdentity
) -> None:
    named: list[bytes] = []

    def name_the_second() -> None:
        while not named:
            try:
                with ledger.write() as connection:
                    named.append(name_orders(connection, [second], NOW + 86_400)[second])
            except VersionConflictError:
                continue

    with ledger.write() as connection:
        business_key = name_orders(connection, [first], NOW + 86_400)[first]
        thread = threading.Thread(target=name_the_second)
        thread.start()
        thread.join(0.5)
        assert named == []
    thread.join()
    assert named == [business_key]


@pytest.mark.parametrize(
    ("value", "outcomes"),
    [
        (20_000, {"created": 1, "duplicate": 1}),
        (30_000, {"created": 1, "contradicted": 1}),
    ],
)
def test_a_page_and_a_system_that_spell_an_order_differently_are_compared_by_its_amount(
    ledger: Ledger, value: int, outcomes: dict[str, int]
) -> None:
    shop = place(ledger)
    amount = {"currency": "EUR", "value_thousandths": 20_000}
    write(ledger, [new(ledger, shop, "page", order=number("1001"), content_key=b"1001", **amount)])
    bring_to(ledger, shop, DELIVERED)
    amount["value_thousandths"] = value
    paid = new(
        ledger, shop, "paid", order=system("5", "1001"), content_key=b"5", trust=Trust.SIGNED, **amount
    )
    assert write(ledger, [paid]) == outcomes


def test_an_order_is_known_for_30_days(sqlite_ledger: Ledger) -> None:
    place(sqlite_ledger)
    with sqlite_ledger.write() as connection:
        first = name_orders(connection, [system("5", "1001")], NOW + 30 * 86_400)
    for days, kept in ((30, 3), (32, 0)):
        purge_expired(sqlite_ledger, 1, NOW + days * 86_400)
        with sqlite_ledger.read() as connection:
            assert connection.scalar(select(func.count()).select_from(order_identity)) == kept
    assert first == {system("5", "1001"): b"i5"}
