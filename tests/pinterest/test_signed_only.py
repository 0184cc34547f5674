"""A source's list of events that count only when signed covers all their spellings, and no other events."""

from typing import Any

import pytest

from tests.pinterest.conftest import run, track
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.payload_checks import Dropped, Outcome
from worker.pinterest.signed_only import drop_signed_only

GOODS = {"value": 10, "currency": "EUR", "num_items": 1}


def options(**config: Any) -> Options:
    return Options.from_config({"ad_account_id": "1", "access_token": "t"} | config, ())


def became(event: dict[str, Any], listed: list[str], chosen: Options) -> list[str]:
    return [word(one) for one in drop_signed_only(run(event, options=chosen), listed, chosen)]


def word(outcome: Outcome) -> str:
    if isinstance(outcome, Dropped):
        return outcome.reason_class
    return str(getattr(outcome, "event_name", None))


@pytest.mark.parametrize(
    ("listed", "name", "expected"),
    [
        # By the shop's name, in all spellings.
        ("Order Completed", "Order Completed", "unsigned"),
        ("order_completed", "ORDER  completed", "unsigned"),
        ("Gift Sent", "gift-sent", "unsigned"),
        # By Pinterest's name, and by every other name with the same meaning.
        ("checkout", "Order Completed", "unsigned"),
        ("Order Completed", "purchase", "unsigned"),
        ("Order Completed", "checkout", "unsigned"),
        # Nothing else.
        ("Order Completed", "Product Added", "add_to_cart"),
        ("Gift Sent", "Gift Received", "custom"),
        ("lead", "Order Completed", "checkout"),
    ],
)
def test_a_listed_name_covers_its_synonyms(listed: str, name: str, expected: str) -> None:
    assert became(track(name, GOODS), [listed], options()) == [expected]


def test_an_empty_list_covers_nothing() -> None:
    assert became(track("Order Completed", GOODS), [], options()) == ["checkout"]


def test_page_views_can_be_listed() -> None:
    page = {"type": "page", "messageId": "p"}
    assert became(page, ["Page View"], options()) == ["unsigned"]


def test_a_rule_of_the_integration_decides_what_a_listed_name_means() -> None:
    chosen = options(event_overrides={"Deal Closed": "lead", "Order Completed": ["checkout", "subscribe"]})
    assert became(track("generate_lead"), ["Deal Closed"], chosen) == ["unsigned"]
    assert became(track("Order Completed", GOODS), ["Deal Closed"], chosen) == ["checkout", "subscribe"]
    assert became(track("Order Completed", GOODS), ["subscribe"], chosen) == ["checkout", "unsigned"]


def test_a_rule_with_a_condition_keeps_the_built_in_meaning_too() -> None:
    rule = [{"send": "subscribe", "when": {"plan": "yearly"}}]
    chosen = options(event_overrides={"Order Completed": rule})
    assert became(track("purchase", GOODS), ["Order Completed"], chosen) == ["unsigned"]
    assert became(track("Subscribed"), ["Order Completed"], chosen) == ["unsigned"]


def test_an_invalid_event_is_dropped_too_so_that_the_list_of_failures_cannot_be_flooded() -> None:
    assert became(track("Order Completed"), ["checkout"], options()) == ["unsigned"]
    assert became(track("Order Completed", GOODS, timestamp=-1e30), ["checkout"], options()) == ["unsigned"]


def test_an_event_stopped_by_consent_or_a_rule_keeps_its_reason() -> None:
    chosen = options(event_overrides={"Order Completed": "drop"})
    assert became(track("Order Completed", GOODS), ["Order Completed"], chosen) == ["override"]
    refusing = track("Order Completed", GOODS, context={"consent": {"advertising": False}})
    asking = Options(consent_categories=("advertising",))
    assert became(refusing, ["Order Completed"], asking) == ["None"]
