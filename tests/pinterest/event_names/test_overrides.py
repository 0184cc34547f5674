"""Rules that send an event under one name, several or none, also depending on a property."""

from typing import Any

import pytest

from tests.pinterest.conftest import run, track
from worker.pinterest.event_names.overrides import _parse_advertiser_events, _parse_overrides, _RuleError
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Dropped, Mapped


def options(overrides: Any, advertiser_events: tuple[str, ...] = ()) -> Options:
    return Options(
        overrides=_parse_overrides(overrides, advertiser_events), advertiser_events=advertiser_events
    )


def names(event: dict[str, Any], overrides: Any, advertiser_events: tuple[str, ...] = ()) -> list[str]:
    outcomes = run(event, options=options(overrides, advertiser_events))
    return [one.event_name if isinstance(one, Mapped) else type(one).__name__ for one in outcomes]


def test_an_event_is_sent_under_another_name() -> None:
    assert names(track("Quote Requested"), {"quote_requested": "lead"}) == ["lead"]


def test_one_event_is_sent_under_several_names_with_one_id() -> None:
    outcomes = run(track("Quote Requested"), options=options({"Quote Requested": ["lead", "contact"]}))
    assert [(one.event_name, one.event_id) for one in outcomes if isinstance(one, Mapped)] == [
        ("lead", "evt_1"),
        ("contact", "evt_1"),
    ]


def test_an_event_is_dropped() -> None:
    outcomes = run(track("Internal Ping"), options=options({"Internal Ping": "drop"}))
    assert outcomes == [Dropped("evt_1", "Internal Ping", "an override drops this event")]


def test_page_views_have_a_name_too() -> None:
    assert names({"type": "page", "messageId": "m"}, {"page": "view_content"}) == ["view_content"]


CONDITIONAL = {
    "Form Sent": [
        {"when": {"formType": ["quote", "offer"]}, "send": ["lead", "Big_Lead"]},
        {"when": {"form_type": "spam"}, "send": "drop"},
        {"when": {"paid": True}, "send": "subscribe"},
        {"when": {"step": 1}, "send": "contact"},
    ]
}


@pytest.mark.parametrize(
    ("properties", "sent"),
    [
        ({"form_type": "Offer "}, ["lead", "Big_Lead"]),
        ({"formType": "spam"}, ["Dropped"]),
        ({"paid": True}, ["subscribe"]),
        ({"paid": 1}, ["custom"]),
        ({"paid": "true"}, ["custom"]),
        ({"step": 1.0}, ["contact"]),
        ({"step": "1"}, ["custom"]),
        ({"step": [1]}, ["custom"]),
        ({}, ["custom"]),
    ],
)
def test_the_first_matching_rule_decides(properties: dict[str, Any], sent: list[str]) -> None:
    assert names(track("Form Sent", properties), CONDITIONAL, ("Big_Lead",)) == sent


def test_the_advertisers_own_events_keep_their_name() -> None:
    (outcome,) = run(track("newsletter opened"), options=Options(advertiser_events=("Newsletter_Opened",)))
    assert isinstance(outcome, Mapped)
    assert (outcome.event_name, outcome.custom_event_name) == ("Newsletter_Opened", None)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ([], "must be an object of at most 200 event names."),
        ({"!": "lead"}, "has '!', which is not an event name."),
        ({"A b": "lead", "a_b": "lead"}, "names the event 'a_b' twice, in different spellings."),
        ({"A": "leads"}, "for 'A' names 'leads', which is neither Pinterest's event name nor yours."),
        ({"A": []}, "for 'A' must be a Pinterest event name, a list of different ones, or drop."),
        (
            {"A": ["lead", "lead"]},
            "for 'A' must be a Pinterest event name, a list of different ones, or drop.",
        ),
        ({"A": ["lead", "drop"]}, "for 'A' names 'drop', which is neither Pinterest's event name nor yours."),
        ({"A": 7}, "for 'A' must be a Pinterest event name, a list of different ones, or drop."),
        ({"A": {"when": {}}}, "for 'A' must have the key send, and optionally when."),
        ({"A": {"send": "lead", "if": {}}}, "for 'A' must have the key send, and optionally when."),
        ({"A": {"send": "lead", "when": []}}, "for 'A' has a condition that is not an object."),
        (
            {"A": {"send": "lead", "when": {"a": {}}}},
            "for 'A' has a condition that is neither a value nor a list of values.",
        ),
    ],
)
def test_a_wrong_table_is_refused_with_a_sentence(raw: Any, sentence: str) -> None:
    with pytest.raises(_RuleError) as error:
        _parse_overrides(raw, ())
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("a", "must be a list of at most 15 names."),
        ([f"e{n}" for n in range(16)], "must be a list of at most 15 names."),
        (["my event"], "has 'my event': a name is 1 to 100 letters, digits, hyphens and underscores."),
        (["a" * 101], f"has '{'a' * 101}': a name is 1 to 100 letters, digits, hyphens and underscores."),
        (["my_event", "My-Event"], "names an event twice."),
    ],
)
def test_a_wrong_list_of_advertiser_events_is_refused(raw: Any, sentence: str) -> None:
    with pytest.raises(_RuleError) as error:
        _parse_advertiser_events(raw)
    assert str(error.value) == sentence
