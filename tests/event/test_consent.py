"""Consent: granted, denied or unknown."""

from typing import Any

import pytest

from worker.event.consent import Consent, check_consent

GRANTED = "consent to advertising was granted"
DENIED = "consent to advertising was denied"
SILENT = "consent to advertising is not stated"
DROPPED = "no consent information, and the source drops such events"


@pytest.mark.parametrize(
    ("stated", "granted", "reason"),
    [
        # Flat, with the words that tools use for yes and no.
        ({"advertising": True}, True, GRANTED),
        ({"advertising": False}, False, DENIED),
        ({"Advertising": "granted"}, True, GRANTED),
        ({"advertising": "denied"}, False, DENIED),
        ({"advertising": 1}, True, GRANTED),
        ({"advertising": "maybe", "analytics": True}, False, SILENT),
        # Marketing and advertising count as one where an event knows only the other.
        ({"marketing": True}, True, GRANTED),
        ({"marketing": False}, False, DENIED),
        ({"marketing": True, "advertising": False}, False, DENIED),
        ({"marketing": False, "advertising": True}, True, GRANTED),
        # Nested: the shop's own categories next to the canonical set.
        ({"categories": {"advertising": True}, "canonical": {"marketing": False}}, True, GRANTED),
        ({"categories": {"C0004": True}, "canonical": {"marketing": True}}, True, GRANTED),
        ({"categories": {"advertising": True}, "canonical": {"advertising": False}}, False, DENIED),
        ({"categories": ["analytics", "advertising"]}, True, GRANTED),
        ({"categoryPreferences": {"Advertising": True}}, True, GRANTED),
        # Speaking of others only is not granting this one.
        ({"analytics": True}, False, SILENT),
        ({"categories": ["analytics"]}, False, SILENT),
        # What nobody can read is no consent.
        ("yes", False, SILENT),
        (True, False, SILENT),
        # Saying nothing is left to the default.
        (None, False, DROPPED),
        ({}, False, DROPPED),
        ({"advertising": None}, False, DROPPED),
        ({"version": 2}, False, DROPPED),
        ({"categories": {}}, False, DROPPED),
    ],
)
def test_consent_is_decided(stated: Any, granted: bool, reason: str) -> None:
    event = {"type": "page", "context": {"consent": stated}}
    assert check_consent(event, ["advertising"], "drop") == Consent(granted, reason)


def test_all_categories_have_to_be_granted() -> None:
    event = {"context": {"consent": {"advertising": True, "analytics": False}}}
    assert check_consent(event, ["advertising", "analytics"], "allow") == Consent(
        False, "consent to analytics was denied"
    )


@pytest.mark.parametrize("event", [{}, {"context": None}, {"context": {}}, {"context": []}])
def test_an_event_without_information_gets_the_default(event: dict[str, Any]) -> None:
    assert not check_consent(event, ["advertising"], "drop").granted
    assert check_consent(event, ["advertising"], "allow").granted


def test_an_integration_without_categories_needs_no_consent() -> None:
    assert check_consent({"context": {"consent": {"advertising": False}}}, [], "drop").granted
