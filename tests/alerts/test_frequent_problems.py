"""A kind of problem that many events have is reported, by the worst event name."""

import pytest

from tests.alerts.test_lifecycle_in_ledger import firing
from tests.ledger.shop import NOW, new, place, write
from worker.alerts import source_rules
from worker.alerts.source_rules import _find_frequent
from worker.event.problems import FoundProblem, Problem
from worker.ledger.database import Ledger
from worker.ledger.reports import data_problems, tallies
from worker.ledger.reports.data_problems import ProblemCount
from worker.ledger.upkeep.alerts import Change

CURRENCY, CHECKOUT, PAGE = "currency_unreadable", "checkout", "page_visit"


def lately(problem: str, name: str, two_hours: int, day: int | None = None) -> ProblemCount:
    """Return what came in the last two hours, and in the last day."""
    return ProblemCount("src_shop", problem, name, (two_hours, two_hours if day is None else day))


@pytest.mark.parametrize(
    ("counts", "summaries"),
    [
        # No problem, or too few events to judge.
        ([lately("", CHECKOUT, 1_000)], []),
        ([lately("", CHECKOUT, 49), lately(CURRENCY, CHECKOUT, 49)], []),
        # Exactly the share is not above it.
        ([lately("", CHECKOUT, 100), lately(CURRENCY, CHECKOUT, 20)], []),
        (
            [lately("", CHECKOUT, 100), lately(CURRENCY, CHECKOUT, 21)],
            ["21 of 100 events of src_shop in the last 2 hours (21 %)"],
        ),
        # A small share of all events may be a large one of its name.
        (
            [lately("", CHECKOUT, 60), lately("", PAGE, 9_000), lately(CURRENCY, CHECKOUT, 30)],
            ["30 of 60 checkout events of src_shop in the last 2 hours (50 %)"],
        ),
        # A small shop is judged by a day.
        (
            [lately("", CHECKOUT, 2, 50), lately("", PAGE, 900, 9_000), lately(CURRENCY, CHECKOUT, 2, 50)],
            ["50 of 50 checkout events of src_shop in the last 24 hours (100 %)"],
        ),
        # What was fixed is judged by the last two hours, if they have enough events.
        ([lately("", CHECKOUT, 50, 500), lately(CURRENCY, CHECKOUT, 0, 450)], []),
        # Events without a name of Pinterest's count among all events only.
        (
            [lately("", "", 60), lately("", PAGE, 60), lately("consent_unreadable", "", 60)],
            ["60 of 120 events of src_shop in the last 2 hours (50 %)"],
        ),
        # Each kind and each source has its own.
        (
            [
                lately("", CHECKOUT, 50),
                lately(CURRENCY, CHECKOUT, 50),
                lately("list_cut", CHECKOUT, 20),
                ProblemCount("src_other", "", CHECKOUT, (50, 50)),
                ProblemCount("src_other", CURRENCY, CHECKOUT, (1, 1)),
            ],
            [
                "50 of 50 events of src_shop in the last 2 hours (100 %)",
                "20 of 50 events of src_shop in the last 2 hours (40 %)",
            ],
        ),
        # A kind that only a newer version knows.
        (
            [lately("", CHECKOUT, 50), lately("colour_unreadable", CHECKOUT, 50)],
            ["50 of 50 events of src_shop in the last 2 hours (100 %) have a problem: Colour unreadable."],
        ),
        # Problems whose events were counted elsewhere.
        ([lately(CURRENCY, CHECKOUT, 99)], []),
    ],
)
def test_a_share_above_the_limit_is_reported(counts: list[ProblemCount], summaries: list[str]) -> None:
    found = _find_frequent(counts, 20)
    assert len(found) == len(summaries)
    for problem, summary in zip(found, summaries, strict=True):
        assert problem.summary.startswith(summary)


def test_at_a_hundred_percent_nothing_is_reported() -> None:
    assert _find_frequent([lately("", CHECKOUT, 99), lately(CURRENCY, CHECKOUT, 99)], 100) == []


def test_an_alert_begins_with_the_share_and_ends_with_it(ledger: Ledger) -> None:
    shop = place(ledger)

    def come(start: int, *problems: FoundProblem, now: float = NOW) -> None:
        events = [new(ledger, shop, f"e{start + number}", problems=problems) for number in range(50)]
        write(ledger, events)
        mapped = tallies.Counter({tallies.Entry("src_shop", 0, "checkout", tallies.MAPPED): 50})
        with ledger.write() as connection:
            tallies.append_tallies(connection, mapped, now)
            data_problems.append_problems(connection, [[event] for event in events if problems], now)

    def check(now: float) -> list[Change]:
        return source_rules.check_data_quality(ledger, now, 20, to_webhook=False)

    come(0)
    assert check(NOW) == []
    come(50, FoundProblem(Problem.CURRENCY_UNREADABLE))
    assert check(NOW) == [Change.FIRED]
    assert check(NOW + 60) == []
    assert firing(ledger) == ["data_quality src_shop:currency_unreadable"]
    come(100, now=NOW + 3 * 3_600)
    assert check(NOW + 3 * 3_600) == [Change.RESOLVED]
