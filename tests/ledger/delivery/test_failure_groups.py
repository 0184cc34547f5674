"""Failures are grouped by reason. People resolve or ignore a group; a new failure opens a resolved one again."""

import pytest

from tests.ledger.delivery.test_failures import DAY, fail
from tests.ledger.shop import NOW, place
from worker.ledger.database import Ledger
from worker.ledger.delivery import failure_groups
from worker.ledger.delivery.failure_groups import TREND_DAYS, GroupState, ReasonGroup, _state_of
from worker.ledger.delivery.failures import FailureFilter
from worker.ledger.setup.integrations import Integration
from worker.ledger.upkeep import alert_queries

MIDNIGHT = NOW // DAY * DAY


@pytest.fixture
def shop(ledger: Ledger) -> Integration:
    return place(ledger)


def groups(ledger: Ledger, now: float = NOW) -> list[ReasonGroup]:
    with ledger.read() as connection:
        return failure_groups.failed_by_reason(connection, FailureFilter(), now)


def decide(ledger: Ledger, group: ReasonGroup, state: GroupState, now: float = NOW) -> None:
    with ledger.write() as connection:
        failure_groups.decide_group(connection, group, state, "kim", now)


def needing_attention(ledger: Ledger) -> tuple[dict[str, int], list[str]]:
    """Return the counts by ad account and the kinds that the alerts see."""
    with ledger.read() as connection:
        kinds = alert_queries.failure_kinds(connection, 100)
        return (
            alert_queries.count_failed_with(connection, ["refused", "unavailable"], 100),
            sorted(kind.reason_class for kind in kinds),
        )


def test_failures_are_counted_by_reason(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", "e2")
    fail(ledger, shop, "e3", reason_class="unavailable", reason="HTTP 503", accepted_at=NOW + 5)

    told = [
        (group.reason_class, group.n, group.reason, group.first_at, group.last_at) for group in groups(ledger)
    ]
    assert told == [
        ("refused", 2, "missing email", NOW, NOW),
        ("unavailable", 1, "HTTP 503", NOW + 5, NOW + 5),
    ]


def test_the_trend_counts_days_in_utc_from_midnight_to_midnight(ledger: Ledger, shop: Integration) -> None:
    for event_id, at in {
        "too early": MIDNIGHT - (TREND_DAYS - 1) * DAY - 1,
        "first second": MIDNIGHT - (TREND_DAYS - 1) * DAY,
        "last second of yesterday": MIDNIGHT - 1,
        "midnight": MIDNIGHT,
        "now": NOW,
    }.items():
        fail(ledger, shop, event_id, accepted_at=at)

    (group,) = groups(ledger)
    assert group.trend == (1, *(0,) * (TREND_DAYS - 3), 1, 2)
    assert (group.n, group.last_at) == (5, NOW)


@pytest.mark.parametrize(
    ("stored", "last_at", "state"),
    [
        (None, 20.0, GroupState.OPEN),
        ("resolved", 10.0, GroupState.RESOLVED),
        ("resolved", 10.1, GroupState.OPEN),
        ("ignored", 10.1, GroupState.IGNORED),
    ],
)
def test_a_failure_after_the_decision_opens_only_a_resolved_group(
    stored: str | None, last_at: float, state: GroupState
) -> None:
    assert _state_of(stored, 10.0, last_at) is state


def test_only_open_groups_need_attention(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", "e2")
    fail(ledger, shop, "e3", reason_class="unavailable")
    fail(ledger, place(ledger, ad_account_id="42"), "e4")
    account = shop.ad_account_id
    assert needing_attention(ledger) == (
        {account: 3, "42": 1},
        ["refused", "unavailable"],
    )
    refused = next(group for group in groups(ledger) if group.n == 2)
    decide(ledger, refused, GroupState.RESOLVED)
    decide(ledger, next(group for group in groups(ledger) if group.ad_account_id == "42"), GroupState.IGNORED)

    assert needing_attention(ledger) == ({account: 1}, ["unavailable"])
    assert [(group.n, group.state, group.decided_by) for group in groups(ledger)] == [
        (1, "open", ""),
        (2, "resolved", "kim"),
        (1, "ignored", "kim"),
    ]
    fail(ledger, shop, "e5", accepted_at=NOW + 1)
    assert needing_attention(ledger)[0] == {account: 2}
    assert next((group.n, group.state, group.decided_at) for group in groups(ledger)) == (3, "open", None)


def test_a_decision_is_replaced_and_withdrawn(ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1")
    for state in (GroupState.RESOLVED, GroupState.IGNORED, GroupState.OPEN, GroupState.OPEN):
        decide(ledger, groups(ledger)[0], state)
        assert groups(ledger)[0].state is state
