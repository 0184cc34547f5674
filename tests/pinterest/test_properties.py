"""Properties of every event: it matches Pinterest's published schema, or has a named reason."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.pinterest.conftest import NOW, browser, server
from tests.pinterest.strategies import EVENTS, JSON
from worker.pinterest.mapping.call import Explanation, Options
from worker.pinterest.mapping.mapping import Failed, Mapped, encode_payload, map_event, map_events
from worker.pinterest.user_data.visitor import Visitor, apply_identify, with_click_ids

# Pinterest's published schema, which is independent of the mapping.
PUBLISHED = json.loads(
    (Path(__file__).parents[1] / "dev" / "sandbox" / "pinterest-events-request.schema.json").read_text()
)
VALIDATOR = Draft202012Validator(PUBLISHED)

RECEIVED = st.sampled_from(
    [
        browser(),
        browser(ip=None),
        browser(user_agent="", dfid="d", pin_unauth="null", epik="e"),
        browser(pin_unauth="a1b2", epik="epik_1"),
        server(),
        server(ip="203.0.113.50", user_agent="curl/8"),
    ]
)
OPTIONS = st.builds(
    Options,
    field_mapping=st.sampled_from(["signal", "pinterest"]),
    consent_categories=st.sampled_from([(), ("advertising",)]),
    advertiser_events=st.sampled_from([(), ("Signed-Up",)]),
    default_country=st.sampled_from([None, "US", "DE"]),
    truncate_ip=st.booleans(),
    limited_data_processing=st.booleans(),
    bot_filter=st.booleans(),
    clean_free_text=st.booleans(),
    send_user_id=st.sampled_from([None, True, False]),
    dedupe_by_business_id=st.booleans(),
)
DEFAULTS: st.SearchStrategy[Literal["drop", "allow"]] = st.sampled_from(["drop", "allow"])

# Generating arbitrary JSON takes the time here, not the mapping.
UNHURRIED = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts(one)


@UNHURRIED
@given(EVENTS, RECEIVED, OPTIONS, DEFAULTS)
def test_every_event_matches_the_published_schema_or_fails_with_a_reason(
    event: dict[str, Any], received: Any, options: Options, default: Literal["drop", "allow"]
) -> None:
    for outcome in map_event(event, received, Visitor.EMPTY, options, NOW, default):
        assert outcome.event_id
        if isinstance(outcome, Mapped):
            sent = json.loads(encode_payload(outcome.payload))
            assert list(VALIDATOR.iter_errors({"data": [sent]})) == []
            assert not {"null", "undefined", "nan", ""}.intersection(text.lower() for text in texts(sent))
        elif isinstance(outcome, Failed):
            assert re.fullmatch("[a-z_]+", outcome.reason_class)
            assert outcome.reason_class != "contract"
            assert outcome.reason.endswith(".")
        else:
            assert outcome.reason


@UNHURRIED
@given(EVENTS, RECEIVED, OPTIONS, DEFAULTS)
def test_mapping_twice_gives_the_same_result_and_changes_no_argument(
    event: dict[str, Any], received: Any, options: Options, default: Literal["drop", "allow"]
) -> None:
    before = deepcopy(event)
    once = map_event(event, received, Visitor.EMPTY, options, NOW, default)
    explained = Explanation(show_personal=True)
    twice = map_event(event, received, Visitor.EMPTY, options, NOW + 60, default, explained)
    assert repr(event) == repr(before)
    assert [one.payload for one in once if isinstance(one, Mapped)] == [
        one.payload for one in twice if isinstance(one, Mapped)
    ]
    assert str(explained) or not once


@UNHURRIED
@given(EVENTS, RECEIVED)
def test_only_hashes_of_an_identify_call_are_kept(event: dict[str, Any], received: Any) -> None:
    visitor = apply_identify(Visitor.EMPTY, event, received, "US")
    assert Visitor.from_dict(json.loads(json.dumps(visitor.to_dict()))) == visitor
    assert apply_identify(visitor, event, received, "US") is visitor
    assert with_click_ids(visitor, event, received) is visitor
    for digests in visitor.traits.values():
        assert digests
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)


@pytest.mark.parametrize("mapping", ["signal", "pinterest"])
@UNHURRIED
@given(JSON)
def test_any_products_can_be_mapped(mapping: Literal["signal", "pinterest"], products: Any) -> None:
    event = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m",
        "properties": {"products": products},
    }
    (outcome,) = map_event(event, browser(), Visitor.EMPTY, Options(field_mapping=mapping), NOW, "allow")
    if isinstance(outcome, Mapped):
        data = outcome.payload.get("custom_data", {})
        # Ids, contents and their number agree.
        ids = {content["id"] for content in data.get("contents", ()) if "id" in content}
        assert ids == set(data.get("content_ids", ()))
        assert ("num_items" in data) == bool(data) or mapping == "pinterest"


@UNHURRIED
@given(st.lists(st.tuples(EVENTS, RECEIVED, OPTIONS, DEFAULTS), max_size=8))
def test_events_that_are_mapped_together_have_the_outcomes_that_each_has_alone(events: list[Any]) -> None:
    arguments = [
        (event, received, Visitor.EMPTY, options, NOW, default, None)
        for event, received, options, default in events
    ]
    assert map_events(arguments) == [map_event(*of_one) for of_one in arguments]
