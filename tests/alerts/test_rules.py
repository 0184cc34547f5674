"""Each rule as a table: figures, problem and severity."""

import re
from pathlib import Path
from typing import Any

import pytest

from worker.alerts.rule_figures import AccountFigures, Figures, SourceFigures, TokenFigures
from worker.alerts.rules import (
    _ADVICE,
    RULES,
    _hours_until_drained,
    _hours_until_stale,
    advice,
    find_problems,
)
from worker.ledger.upkeep.alerts import Severity

NOW = 1_750_000_000.0
HOUR, DAY = 3_600.0, 86_400.0
ALIVE = {"batcher": NOW - 5, "sweeper": NOW - 5}
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


def account(**given: Any) -> Figures:
    return Figures(NOW, accounts=(AccountFigures("549765662491", **given),), pulses=ALIVE)


def token(left: float) -> Figures:
    return Figures(NOW, tokens=(TokenFigures("int_1", "549765662491", NOW + left),), pulses=ALIVE)


def source(events: int) -> Figures:
    return Figures(NOW, full_sources=(SourceFigures("src_1", events, 1_000),), pulses=ALIVE)


def scores(by_day: dict[int, str]) -> Figures:
    return Figures(NOW, statuses={("549765662491", "WEB", "TAG"): by_day}, pulses=ALIVE)


def pulses(**ages: float) -> Figures:
    return Figures(NOW, pulses={name: NOW - age for name, age in ages.items()})


def backlog(age: float, **given: Any) -> Figures:
    """Return an account that is held up by an open breaker, so that no other rule reports its age."""
    return account(
        waiting=5_000, oldest_event_at=NOW - age, breaker_open_until=NOW, paused_class="by_hand", **given
    )


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        # Nothing is wrong.
        (Figures(NOW, pulses=ALIVE), {}),
        (account(waiting=10, waiting_since=NOW - 60, oldest_event_at=NOW - 60), {}),
        # Retries.
        (account(contradicted=1), {"event_ids_used_before": WARNING}),
        (account(exhausted=1), {"retries_exhausted": WARNING}),
        # The oldest that waits: not while a breaker or a token holds it up, which have alerts of their own.
        (account(waiting=1, waiting_since=NOW - 901), {"oldest_pending": WARNING}),
        (account(waiting=1, waiting_since=NOW - 900), {}),
        (account(waiting=1, waiting_since=NOW - 901, breaker_open_until=NOW + 9), {"breaker_open": WARNING}),
        (account(waiting=1, waiting_since=NOW - 901, paused_class="by_hand"), {}),
        # Nothing is sent, although nothing holds it.
        (account(due_since=NOW - 121), {"account_stands_still": CRITICAL}),
        (account(due_since=NOW - 120), {}),
        (account(due_since=NOW - 500, last_request_at=NOW - 121), {"account_stands_still": CRITICAL}),
        (account(due_since=NOW - 500, last_request_at=NOW - 120), {}),
        (account(due_since=NOW - 500, breaker_open_until=NOW + 9), {"breaker_open": WARNING}),
        (account(due_since=NOW - 500, paused_class="by_hand"), {}),
        # Clocks.
        (Figures(NOW, pulses=ALIVE, skews={"web2": -2.5}), {"clock_differs": WARNING}),
        # The backlog: not within the first hour; then as soon as the pace is too slow for it.
        (backlog(HOUR - 1), {}),
        (backlog(2 * HOUR, delivered_an_hour=5_000), {}),
        (backlog(2 * HOUR), {"backlog_going_stale": WARNING}),
        (backlog(2 * HOUR, delivered_an_hour=30), {"backlog_going_stale": WARNING}),
        (backlog(2 * HOUR, delivered_an_hour=31), {}),
        (backlog(7 * DAY - 72 * HOUR, delivered_an_hour=5_000), {"backlog_going_stale": WARNING}),
        (backlog(7 * DAY - 24 * HOUR, delivered_an_hour=5_000), {"backlog_going_stale": CRITICAL}),
        (backlog(8 * DAY, delivered_an_hour=5_000), {"backlog_going_stale": CRITICAL}),
        # Breaker and token. A manual pause raises no alert.
        (account(breaker_open_until=NOW - 1), {"breaker_open": WARNING}),
        (account(breaker_open_until=NOW, paused_class="unauthorized"), {"token_refused": CRITICAL}),
        (account(paused_class="forbidden"), {"token_refused": CRITICAL}),
        (account(paused_class="no_such_account"), {"token_refused": CRITICAL}),
        (account(paused_class="by_hand"), {}),
        (account(paused_class="account_refused"), {"account_paused": CRITICAL}),
        (account(paused_class="account_blocked"), {"account_paused": CRITICAL}),
        (account(paused_class="unexpected"), {"account_paused": CRITICAL}),
        # The token's end.
        (token(15 * DAY), {}),
        (token(14 * DAY), {"token_expiring": WARNING}),
        (token(3 * DAY), {"token_expiring": CRITICAL}),
        (token(-DAY), {"token_expiring": CRITICAL}),
        # Silence, also of parts that never ran.
        (pulses(batcher=120, sweeper=120), {}),
        (pulses(batcher=121, sweeper=5), {"batcher_silent": CRITICAL}),
        (pulses(batcher=5, sweeper=121), {"sweeper_silent": CRITICAL}),
        (pulses(), {"batcher_silent": CRITICAL, "sweeper_silent": CRITICAL}),
        # The inbox.
        (Figures(NOW, inbox_since=NOW - 300, pulses=ALIVE), {}),
        (Figures(NOW, inbox_since=NOW - 301, pulses=ALIVE), {"inbox_waiting": WARNING}),
        # A queue that no worker reads. With a backlog it has a message for each event that waits.
        (Figures(NOW, queues={"events-2": 1_500}, waiting=500, pulses=ALIVE), {}),
        (Figures(NOW, queues={"events-2": 1_501}, waiting=500, pulses=ALIVE), {"queue_unread": WARNING}),
        (source(799), {}),
        (source(800), {"inbox_near_bound": WARNING}),
        (source(1_000), {"inbox_near_bound": CRITICAL}),
        (Figures(NOW, parked=1, pulses=ALIVE), {"events_parked": WARNING}),
        # The disk.
        (Figures(NOW, free_bytes=1024**3, pulses=ALIVE), {}),
        # Pinterest's account.
        (Figures(NOW, sign_ins={"1": "HTTP 400."}, pulses=ALIVE), {"sign_in_failing": WARNING}),
        (scores({1: "GOOD", 2: "GOOD", 3: "FAIR"}), {"quality_score_fell": WARNING}),
        (scores({1: "FAIR", 3: "NEEDS_IMPROVEMENT"}), {"quality_score_fell": WARNING}),
        (scores({1: "NEEDS_IMPROVEMENT", 2: "FAIR", 3: "GOOD"}), {}),
        (scores({1: "GOOD", 2: "FAIR", 3: "GOOD"}), {}),
        (scores({1: "GOOD", 2: "new word"}), {}),
        (Figures(NOW, free_bytes=1024**3 - 1, pulses=ALIVE), {"disk_nearly_full": CRITICAL}),
    ],
)
def test_a_rule_sees_what_is_wrong_and_nothing_else(figures: Figures, expected: dict[str, Severity]) -> None:
    assert {seen.rule: seen.severity for seen in find_problems(figures)} == expected


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (account(exhausted=1), "1 delivery to ad account 549765662491 failed after every retry"),
        (account(exhausted=2_000), "2,000 deliveries to ad account 549765662491 failed"),
        (
            account(waiting=7, waiting_since=NOW - 2 * HOUR),
            "The oldest of 7 events for ad account 549765662491 was",
        ),
        (account(waiting=7, waiting_since=NOW - 2 * HOUR), "accepted 2 hours ago."),
        (
            account(contradicted=1),
            "1 signed event of the last two hours has the id of an earlier public event with another",
        ),
        (
            account(contradicted=1_500),
            "1,500 signed events of the last two hours have the ids of earlier public events",
        ),
        (
            account(exhausted=1),
            "1 delivery to ad account 549765662491 failed after every retry and needs manual",
        ),
        (account(waiting=1, waiting_since=NOW - 2 * HOUR), "The oldest of 1 event for ad account"),
        (account(exhausted=20_000), "20,000 or more deliveries to ad account"),
        (account(waiting=2_000_000, waiting_since=NOW - 2 * HOUR), "The oldest of 2,000,000 or more events"),
        (
            backlog(2 * HOUR),
            "will be too old for Pinterest in 166 hours: 5,000 events wait, and none is delivered.",
        ),
        (backlog(DAY, delivered_an_hour=3), "in 144 hours: 5,000 events wait, and 3 an hour are delivered."),
        (backlog(8 * DAY), "is too old for Pinterest: 5,000 events wait"),
        (account(paused_class="unauthorized", paused_reason="Token gone."), "(unauthorized): Token gone."),
        (token(14 * DAY - 60), "The access token of int_1 (ad account 549765662491) expires in 13 days."),
        (token(-3 * HOUR), "expired 3 hours ago."),
        (pulses(batcher=600, sweeper=5), "The batcher last ran 10 minutes ago."),
        (pulses(sweeper=5), "The batcher has never run."),
        (
            source(900),
            "900 of at most 1,000 signed events of src_1 wait in the inbox: beyond that the collector refuses",
        ),
        (source(1_000), "wait in the inbox: the collector refuses more."),
        (Figures(NOW, parked=2, pulses=ALIVE), "2 accepted events could not be processed"),
        (Figures(NOW, free_bytes=300 * 1024**2, pulses=ALIVE), "has 300 MB left."),
    ],
)
def test_the_summary_names_the_subject_and_the_numbers(figures: Figures, words: str) -> None:
    assert words in " ".join(seen.summary for seen in find_problems(figures))


def test_a_backlog_goes_stale_seven_days_after_its_oldest_event() -> None:
    waiting = AccountFigures("1", waiting=900, oldest_event_at=NOW - DAY, delivered_an_hour=300)

    assert _hours_until_stale(waiting, NOW) == 144
    assert _hours_until_drained(waiting) == 3
    assert _hours_until_stale(AccountFigures("1"), NOW) is None
    assert _hours_until_drained(AccountFigures("1", waiting=2_000_000, delivered_an_hour=10**9)) == float(
        "inf"
    )


def test_every_rule_says_what_to_do_here_and_in_the_document() -> None:
    document = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    section = document.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    written = dict(re.findall(r"^- `(\w+)`: .*\n  (.*)$", section, re.MULTILINE))

    assert set(RULES) < set(_ADVICE)
    assert {rule: advice(rule) for rule in _ADVICE} == written


def test_a_rule_of_another_version_has_no_advice() -> None:
    assert advice("from_the_future") == ""
