"""Each order of the shop has one fate in each ad account."""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import select

from tests.ledger.delivery.test_batches import REFUSED, Sending
from tests.ledger.shop import ACCOUNT, NOW, new, place, write
from worker.ledger.database import Ledger
from worker.ledger.delivery.batches import MemberResult
from worker.ledger.reports import shop_orders
from worker.ledger.reports.shop_orders import Fate, OrderSum, ShopOrder
from worker.ledger.schema import State
from worker.ledger.schema import delivery as table
from worker.ledger.upkeep import person_rows

DAY = int(NOW // 86_400)


def order(name: str, *, day: int = DAY, value: int | None = 10_000) -> ShopOrder:
    return ShopOrder("src_shop", name, NOW + (day - DAY) * 86_400, day, "EUR", value)


def store(ledger: Ledger, *orders: ShopOrder) -> int:
    with ledger.write() as connection:
        return shop_orders.store_orders(connection, ledger.vault, orders, NOW)


def key(ledger: Ledger, name: str) -> bytes:
    return ledger.vault.keyed_hash("order", "src_shop", name)


def sums(ledger: Ledger, first_day: int = DAY) -> dict[tuple[str, Fate], int]:
    with ledger.read() as connection:
        found = shop_orders.sum_orders(connection, first_day, DAY)
    counted: Counter[tuple[str, Fate]] = Counter()
    for one in found:
        counted[one.ad_account_id, one.fate] += one.n
    return dict(counted)


def undelivered(
    ledger: Ledger, limit: int = 10, before: int | None = None
) -> Sequence[tuple[str, str, Fate]]:
    fates = set(Fate) - {Fate.DELIVERED}
    with ledger.read() as connection:
        found = shop_orders.undelivered_orders(
            connection, ledger.vault, (DAY, DAY), fates, limit, before=before
        )
    return [(one.order.order_id, one.ad_account_id, one.fate) for one in found]


def test_an_order_has_the_best_fate_of_its_deliveries(ledger: Ledger) -> None:
    sending = Sending(ledger, order_key=None)
    shop = sending.shop
    names = ("failed", "filtered", "dropped", "never", "waiting", "twice", "refunded", "tested", "other")
    store(ledger, *map(order, names))

    def delivery(name: str, event_id: str = "", **changes: object) -> None:
        write(ledger, [new(ledger, shop, event_id or name, order_key=key(ledger, name), **changes)])

    failed = {"state": State.FAILED, "reason_class": "missing_value", "reason": "No value."}
    delivery("failed", **failed)
    delivery("filtered", state=State.FILTERED, reason_class="consent")
    delivery("dropped", state=State.DROPPED, reason_class="unsigned")
    delivery("waiting")
    delivery("twice", "twice 1", **failed)
    delivery("twice", "twice 2")
    delivery("refunded", state=State.DROPPED, reason_class="refund")
    delivery("tested", test=True)
    delivery("other", event_name="page_visit")
    assert sums(ledger) == {
        (ACCOUNT, Fate.FAILED): 1,
        (ACCOUNT, Fate.FILTERED): 1,
        (ACCOUNT, Fate.NOT_SENT): 1,
        (ACCOUNT, Fate.WAITING): 2,
        (ACCOUNT, Fate.NEVER_ARRIVED): 4,
    }
    assert ("failed", ACCOUNT, Fate.FAILED) in undelivered(ledger)


def test_an_order_is_delivered_once_its_batch_is_settled_without_it_as_an_exception(ledger: Ledger) -> None:
    sending = Sending(ledger, order_key=key(ledger, "ORD-1"))
    store(ledger, order("ORD-1"))
    assert sums(ledger) == {(ACCOUNT, Fate.WAITING): 1}
    sending.settle(sending.start(), [MemberResult(sending.everyone[0].id, *REFUSED)])
    assert sums(ledger) == {(ACCOUNT, Fate.DELIVERED): 1}
    assert undelivered(ledger) == []


def test_each_enabled_ad_account_is_compared_and_orders_without_one_are_shown(ledger: Ledger) -> None:
    store(ledger, order("ORD-1"))
    assert sums(ledger) == {("", Fate.NEVER_ARRIVED): 1}
    first = place(ledger)
    place(ledger, ad_account_id="42")
    write(
        ledger,
        [
            new(
                ledger,
                first,
                "e",
                order_key=key(ledger, "ORD-1"),
                state=State.FILTERED,
                reason_class="consent",
            )
        ],
    )
    assert sums(ledger) == {(ACCOUNT, Fate.FILTERED): 1, ("42", Fate.NEVER_ARRIVED): 1}
    assert undelivered(ledger) == [
        ("ORD-1", "42", Fate.NEVER_ARRIVED),
        ("ORD-1", ACCOUNT, Fate.FILTERED),
    ]


def test_an_order_is_stored_once_with_its_newest_value(ledger: Ledger) -> None:
    place(ledger)
    assert store(ledger, order("ORD-1"), order("ORD-2", value=None)) == 2
    assert store(ledger, order("ORD-1", value=7_500)) == 0
    with ledger.read() as connection:
        (found,) = shop_orders.sum_orders(connection, DAY, DAY)
    assert found == OrderSum(DAY, "src_shop", ACCOUNT, "EUR", Fate.NEVER_ARRIVED, 2, 7_500)


def test_days_and_pages_bound_what_is_shown(ledger: Ledger) -> None:
    place(ledger)
    store(ledger, *(order(f"ORD-{n}") for n in range(3)), order("earlier", day=DAY - 1))
    assert sums(ledger) == {(ACCOUNT, Fate.NEVER_ARRIVED): 3}
    assert sums(ledger, DAY - 1) == {(ACCOUNT, Fate.NEVER_ARRIVED): 4}
    assert [one[0] for one in undelivered(ledger, 2)] == ["ORD-2", "ORD-1"]
    with ledger.read() as connection:
        page = shop_orders.undelivered_orders(connection, ledger.vault, (DAY, DAY), {Fate.NEVER_ARRIVED}, 2)
    assert [one[0] for one in undelivered(ledger, 2, page[-1].number)] == ["ORD-0"]
    with ledger.read() as connection:
        counted = shop_orders.count_fates_by_source(connection, NOW - 3_600, NOW)
    assert counted == {"src_shop": {Fate.NEVER_ARRIVED: 3}}


def test_an_order_is_deleted_with_its_age_and_with_the_person_whose_it_is(ledger: Ledger) -> None:
    shop = place(ledger)
    store(ledger, order("ORD-1"), order("ORD-2"), order("earlier", day=DAY - 1))
    with ledger.write() as connection:
        assert shop_orders.purge_orders(connection, NOW - 10, 500) == 1
    write(
        ledger,
        [
            new(
                ledger,
                shop,
                "e",
                order_key=key(ledger, "ORD-1"),
                state=State.FILTERED,
                reason_class="consent",
            )
        ],
    )
    with ledger.write() as connection:
        erased = list(connection.scalars(select(table.c.id)))
        person_rows.erase_deliveries(connection, ledger.vault, erased, NOW)
    assert [one[0] for one in undelivered(ledger)] == ["ORD-2"]
