"""What is said of a match quality."""

from collections import Counter
from typing import Any

import pytest

from worker.ledger.reports.match_quality_counts import Quality
from worker.operations.reports.match_quality_advice import advise, percent

GOOD = {"em": 90, "ip_ua": 100, "partner_id": 40, "external_id": 80, "ph": 30}


def quality(identifiers: dict[str, int] | None = None, **changes: Any) -> Quality:
    found = Quality(valid=100, **changes)
    found.identifiers.update(GOOD | (identifiers or {}))
    return found


def test_there_is_nothing_to_say_of_what_is_good() -> None:
    assert advise(quality()) == []


@pytest.mark.parametrize(
    ("found", "begins"),
    [
        (quality({"em": 49}), "Only 49 % of these events carry an e-mail address."),
        (quality({"em": 0}), "None of these events carry an e-mail address."),
        (quality({"ip_ua": 94}), "Only 94 % of these events carry both IP address and user agent."),
        (quality({"partner_id": 0}), "None of these events carry a click id."),
        (quality({"external_id": 29}), "Only 29 % of these events carry your own id of the visitor."),
        (quality({"ph": 9}), "Only 9 % of these events carry a phone number."),
        (quality(late=5), "5 % of these events were received over an hour late"),
        (quality(computed=50), "50 % of these events have a value that was computed from their products"),
        (
            quality(invalid=Counter({"no_identity": 100})),
            "50 % of the events were not sent, because they cannot be matched",
        ),
        (
            quality(invalid=Counter({"new_class": 100})),
            "50 % of the events were not sent, because they failed (new_class).",
        ),
    ],
)
def test_one_thing_is_amiss(found: Quality, begins: str) -> None:
    (sentence,) = advise(found)

    assert sentence.startswith(begins)
    assert sentence.endswith(".")


def test_either_click_id_will_do() -> None:
    assert advise(quality({"partner_id": 0, "click_id": 10})) == []


def test_what_costs_most_is_said_first() -> None:
    bad = quality({"em": 10, "ph": 0}, late=50)
    bad.invalid.update({"stale": 10, "missing_value": 40})
    topics = ["without a value", "seven days old", "e-mail", "phone", "late"]

    assert [topic in sentence for topic, sentence in zip(topics, advise(bad), strict=True)] == [True] * 5


def test_a_few_events_say_nothing() -> None:
    assert advise(Quality(valid=19)) == []


def test_events_of_which_none_was_valid_are_spoken_of() -> None:
    bad = Quality()
    bad.invalid.update({"bad_timestamp": 30})

    assert advise(bad) == [
        "100 % of the events were not sent, because they have a timestamp that is not a time: send ISO 8601 in UTC."
    ]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0 %"),
        (0.001, "Less than 1 %"),
        (0.01, "1 %"),
        (0.499, "50 %"),
        (0.995, "More than 99 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_written_for_people(share: float, words: str) -> None:
    assert percent(share) == words
