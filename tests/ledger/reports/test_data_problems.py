"""Problems in a shop's data are counted per source and hour, with few examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.shop import NOW, close, new, place, write
from worker.event.problems import FoundProblem, Problem
from worker.ledger.database import Ledger
from worker.ledger.delivery.new_deliveries import NewDelivery
from worker.ledger.reports import data_problems
from worker.ledger.reports.data_problems import ProblemCount, Share, shares_by_kind
from worker.ledger.upkeep import person_rows
from worker.pipeline.upkeep.purging import fold_counts, purge_expired

HOUR = int(NOW // 3_600)
BAD_CURRENCY = FoundProblem(Problem.CURRENCY_UNREADABLE, "the currency is left out")
DAY = 86_400


def record(ledger: Ledger, *events: list[NewDelivery], now: float = NOW) -> None:
    write(ledger, [one for event in events for one in event], now)
    with ledger.write() as connection:
        data_problems.append_problems(connection, events, now)


def counted(ledger: Ledger, source_id: str | None = None) -> list[ProblemCount]:
    with ledger.read() as connection:
        return sorted(data_problems.count_problems(connection, [HOUR, HOUR - 23], source_id))


def examples(ledger: Ledger, source_id: str = "src_shop") -> list[tuple[str, str, str]]:
    with ledger.read() as connection:
        found = data_problems.newest_examples(connection, source_id)
    return [(one.problem, one.event_name, one.sentence) for one in found]


def test_an_event_for_two_integrations_is_counted_once_for_each_kind(ledger: Ledger) -> None:
    one, other = place(ledger), place(ledger, ad_account_id="222")
    problems = (BAD_CURRENCY, FoundProblem(Problem.LIST_CUT))
    record(ledger, [new(ledger, where, "e1", problems=problems) for where in (one, other)])
    assert counted(ledger) == [
        ("src_shop", "currency_unreadable", "checkout", (1, 1)),
        ("src_shop", "list_cut", "checkout", (1, 1)),
    ]


def test_hours_and_sources_are_kept_apart_and_folded_rows_count_the_same(ledger: Ledger) -> None:
    shop, other = place(ledger), place(ledger, "src_other", "222")
    for number, (where, back) in enumerate([(shop, 0), (shop, 0), (shop, 5), (other, 0), (shop, 24)]):
        record(ledger, [new(ledger, where, f"e{number}", problems=(BAD_CURRENCY,))], now=NOW - back * 3_600)
    expected = [("src_shop", "currency_unreadable", "checkout", (2, 3))]
    assert counted(ledger, "src_shop") == expected
    fold_counts(ledger, NOW)
    assert counted(ledger, "src_shop") == expected
    assert counted(ledger, "src_other")[0].counts == (1, 1)


def test_the_newest_example_of_each_name_names_its_delivery(ledger: Ledger) -> None:
    shop = place(ledger)
    for number, name in enumerate(("Bestellung", "Order", "Bestellung")):
        problem = FoundProblem(Problem.LOOKS_LIKE_CHECKOUT, f"sentence {number}", "10.0.0.7")
        record(ledger, [new(ledger, shop, f"e{number}", source_name=name, problems=(problem,))])
    with ledger.read() as connection:
        found = data_problems.newest_examples(connection, "src_shop")
    assert [(one.event_name, one.sentence, one.delivery_id, one.address) for one in found] == [
        ("Bestellung", "sentence 2", 3, "10.0.0.7"),
        ("Order", "sentence 1", 2, "10.0.0.7"),
    ] or [one.sentence for one in found] == ["sentence 2", "sentence 1"]
    with ledger.read() as connection:
        assert data_problems.newest_examples(connection, "src_other") == []


def test_a_caller_who_invents_names_leaves_few_examples(ledger: Ledger) -> None:
    shop = place(ledger)
    for bulk in range(3):
        names = [f"name {bulk} {number}" for number in range(30)]
        record(
            ledger, *([new(ledger, shop, name, source_name=name, problems=(BAD_CURRENCY,))] for name in names)
        )
    assert len(examples(ledger)) == 30
    fold_counts(ledger, NOW)
    assert [name for _, name, _ in examples(ledger)] == [f"name 2 {number}" for number in reversed(range(10))]


def test_upkeep_keeps_the_newest_example_of_each_kind_and_name(ledger: Ledger) -> None:
    shop = place(ledger)
    for number in range(12):
        problem = FoundProblem(Problem.CURRENCY_MISSING, f"sentence {number}")
        record(ledger, [new(ledger, shop, f"e{number}", problems=(problem,))])
    before = examples(ledger)
    with ledger.write() as connection:
        assert data_problems.drop_older_examples(connection, 100) == 11
    assert examples(ledger) == before == [("currency_missing", "Order Completed", "sentence 11")]


def test_an_erased_delivery_is_no_example(ledger: Ledger) -> None:
    shop = place(ledger)
    record(ledger, [new(ledger, shop, "e1", problems=(BAD_CURRENCY,))])
    with ledger.read() as connection:
        (example,) = data_problems.newest_examples(connection, "src_shop")
    assert example.delivery_id is not None
    with ledger.write() as connection:
        person_rows.erase_deliveries(connection, ledger.vault, [example.delivery_id], NOW)
    assert examples(ledger) == []
    assert counted(ledger)[0].counts == (1, 1)


def test_examples_end_with_the_retention_and_counts_with_the_season(ledger: Ledger) -> None:
    shop = place(ledger)
    record(ledger, [new(ledger, shop, "e1", problems=(BAD_CURRENCY,))])
    purge_expired(ledger, 30, NOW + 31 * DAY)
    assert examples(ledger) == []
    assert counted(ledger) != []
    purge_expired(ledger, 30, NOW + 93 * DAY)
    assert counted(ledger) == []


def test_the_books_ignore_problems(ledger: Ledger) -> None:
    shop = place(ledger)
    record(ledger, [new(ledger, shop, "e1", problems=(BAD_CURRENCY,))])
    assert close(ledger).deliveries == {"pending": 1}


@pytest.mark.parametrize(
    ("counts", "shares"),
    [
        (
            [("p", "checkout", 3), ("", "checkout", 4), ("", "page_visit", 96)],
            {"checkout": (3, 4), "": (3, 100)},
        ),
        ([("p", "", 2), ("", "", 5), ("", "checkout", 5)], {"": (2, 10)}),
        ([("p", "checkout", 2)], {"checkout": (2, 0), "": (2, 0)}),
    ],
)
def test_shares_are_of_the_events_of_the_same_name_and_of_all(
    counts: list[tuple[str, str, int]], shares: dict[str, tuple[int, int]]
) -> None:
    given = [ProblemCount("src_shop", problem, name, (n,)) for problem, name, n in counts]
    found = shares_by_kind(given, 0)["src_shop", "p"]
    assert {name: (share.n, share.events) for name, share in found.items()} == shares


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_share_is_between_nothing_and_everything(n: int, events: int) -> None:
    assert 0 <= Share("", n, events).share <= 1
