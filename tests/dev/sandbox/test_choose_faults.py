"""A script's rules apply in order, and give the same results each time."""

from typing import Any

import pytest

from tests.dev.sandbox.samples import ACCOUNT, event, events
from worker.dev.sandbox.choose_faults import Behaviour, EventsRequest, Plan
from worker.dev.sandbox.fault_script import parse_script


def behaviour(*rules: dict[str, Any], seed: int = 1) -> Behaviour:
    return Behaviour(parse_script({"seed": seed, "rules": list(rules)}))


def asked(**changes: Any) -> EventsRequest:
    usual = {
        "account": ACCOUNT,
        "test": False,
        "token": "good",
        "events": [event("a"), event("b")],
        "well_formed": True,
        "at_seconds": 0.0,
    }
    return EventsRequest(**{**usual, **changes})


def statuses(followed: Behaviour, *requests: EventsRequest) -> list[int | None]:
    plans = [followed.plan(request) for request in requests]
    return [plan.status.status if plan.status else None for plan in plans]


def test_no_rule_means_no_fault() -> None:
    assert behaviour().plan(asked()) == Plan()


@pytest.mark.parametrize(
    ("match", "request_", "matches"),
    [
        ({"account": ACCOUNT}, asked(), True),
        ({"account": ["1", "2"]}, asked(), False),
        ({"test": True}, asked(), False),
        ({"test": True}, asked(test=True), True),
        ({"event_id": "b"}, asked(), True),
        ({"event_id": ["c", "d"]}, asked(), False),
        ({"event_name": "page_visit"}, asked(), True),
        ({"event_name": "checkout"}, asked(), False),
        ({"probability": 0}, asked(), False),
        ({"event_id": "b"}, asked(events=[], well_formed=False), False),
    ],
)
def test_a_rule_is_for_the_requests_that_it_matches(
    match: dict[str, Any], request_: EventsRequest, matches: bool
) -> None:
    assert statuses(behaviour({**match, "status": 500}), request_) == [500 if matches else None]


def test_a_rule_skips_first_requests_and_is_spent_after_its_times() -> None:
    followed = behaviour({"after": 1, "times": 2, "status": 500})
    assert statuses(followed, *[asked()] * 5) == [None, 500, 500, None, None]
    assert followed.tallies() == [{"matched": 5, "applied": 2}]


def test_the_first_deciding_rule_wins_and_milder_ones_before_it_add_up() -> None:
    followed = behaviour(
        {"latency_seconds": 1},
        {"latency_seconds": 2, "warn_events": {"positions": [0], "warning_message": "w"}},
        {"status": 503},
        {"status": 500, "latency_seconds": 60},
    )
    plan = followed.plan(asked())
    assert plan.status is not None
    assert (plan.status.status, plan.latency_seconds, plan.warnings, plan.rules) == (
        503,
        3.0,
        {0: "w"},
        [0, 1, 2],
    )


def test_events_are_failed_by_position_id_and_share() -> None:
    by_position = {"fail_events": {"positions": [0, 7], "error_message": "p"}}
    by_id = {"fail_events": {"event_ids": ["b"], "error_message": "i", "as": 422}}
    plan = behaviour(by_position, by_id).plan(asked())
    assert (plan.failures, plan.failed_as) == ({0: "p", 1: "i"}, 422)
    shared = behaviour({"fail_events": {"share": 0.25}}).plan(asked(events=events(1_000)))
    assert 200 < len(shared.failures) < 300


@pytest.mark.parametrize(
    "action", [{"fail_events": {"share": 1}}, {"accept_then_cut": "close"}, {"truncate": 1}]
)
def test_what_needs_accepted_events_leaves_a_malformed_request_alone(action: dict[str, Any]) -> None:
    assert behaviour(action).plan(asked(events=[], well_formed=False)) == Plan()


def test_the_same_seed_gives_the_same_faults() -> None:
    rules: list[dict[str, Any]] = [
        {"probability": 0.3, "status": 500},
        {"fail_events": {"share": 0.1}, "latency_seconds": [0, 5]},
    ]
    requests = [asked(events=events(20))] * 100
    first, again = behaviour(*rules, seed=7), behaviour(*rules, seed=7)
    other = behaviour(*rules, seed=8)
    plans = [first.plan(request) for request in requests]
    assert plans == [again.plan(request) for request in requests]
    assert plans != [other.plan(request) for request in requests]


def test_one_rule_does_not_disturb_the_numbers_that_another_draws() -> None:
    drawn = {"account": ACCOUNT, "probability": 0.5, "status": 500}
    alone, beside = behaviour(drawn), behaviour(drawn, {"account": "9", "probability": 0.5, "status": 503})
    own, foreign = [asked()] * 20, [asked(account="9")] * 20
    mixed = [request for pair in zip(own, foreign, strict=True) for request in pair]
    assert statuses(alone, *own) == statuses(beside, *mixed)[::2]


def test_a_rate_limit_lets_the_burst_through_and_then_its_rate() -> None:
    followed = behaviour({"rate_limit": {"rps": 2, "burst": 3}})
    burst = [asked(at_seconds=0.0)] * 4
    later = [asked(at_seconds=0.5), asked(at_seconds=0.6), asked(at_seconds=1.0)]
    assert statuses(followed, *burst, *later) == [None, None, None, 429, None, 429, None]
    assert followed.tallies() == [{"matched": 7, "applied": 2}]


def test_a_rate_limit_holds_for_each_account_and_says_when() -> None:
    followed = behaviour({"rate_limit": {"rps": 0.1, "burst": 1}})
    assert statuses(followed, asked(), asked(account="2")) == [None, None]
    refused = followed.plan(asked()).status
    assert refused is not None
    assert refused.headers == {
        "Retry-After": "10",
        "X-RateLimit-Limit": "1",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "10",
    }


def test_only_good_tokens_pass_where_they_are_required() -> None:
    followed = behaviour({"require_token": ["good"]}, {"status": 503})
    assert statuses(followed, asked(), asked(token="bad")) == [503, 401]
