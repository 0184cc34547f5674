"""The stored record of a visitor."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pinterest.conftest import EM, browser, sha
from worker.pinterest.mapping.call import Notes, Options, read_call
from worker.pinterest.user_data.user_data import build_user_data
from worker.pinterest.user_data.visitor import Visitor, _hash_traits, apply_identify, with_click_ids


def identify(traits: Any = None, **fields: Any) -> dict[str, Any]:
    return {"type": "identify", "traits": traits, **fields}


def test_an_identify_call_stores_hashes_only() -> None:
    visitor = apply_identify(Visitor.EMPTY, identify({"email": " John.Doe@example.com", "phone": "0151 12345678"}),
                             browser(), "DE")  # fmt: skip
    assert visitor == Visitor(traits={"em": [EM], "ph": [sha("4915112345678")]})


def test_a_newer_value_replaces_the_older_one_field_by_field() -> None:
    older = apply_identify(
        Visitor.EMPTY, identify({"phone": "+4915112345678", "firstName": "Jon"}), browser(), None
    )
    newer = apply_identify(older, identify({"firstName": "John"}), browser(), None)
    assert newer.traits == {"ph": [sha("4915112345678")], "fn": [sha("john")]}


JANE = {"email": "jane@example.com", "phone": "+4915112345678", "firstName": "Jane", "zip": "53111"}


@pytest.mark.parametrize(
    ("jane", "john"),
    [
        (identify(JANE), identify({"email": "john.doe@example.com"})),
        (identify(JANE, userId="jane"), identify({"email": "john.doe@example.com"})),
        (identify(JANE), identify({"email": "john.doe@example.com"}, userId="john")),
        (identify(JANE, userId="jane"), identify({"email": "john.doe@example.com"}, userId="john")),
        (identify(JANE, userId="jane"), identify({"email": "john.doe@example.com"}, userId=None)),
        (identify(JANE | {"email": [JANE["email"], "j@example.com"]}), identify({"em": EM})),
    ],
)
def test_another_email_without_a_common_user_id_is_another_person(
    jane: dict[str, Any], john: dict[str, Any]
) -> None:
    known = apply_identify(Visitor.EMPTY, jane, browser(), None)
    now = apply_identify(known, john, browser(), None)
    assert now == Visitor(traits={"em": [EM]}, user_id=sha("john") if john.get("userId") else None)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (identify(JANE, userId=7), identify({"email": "new@example.com"}, userId="7")),
        (identify(JANE), identify({"emails": ["new@example.com", "JANE@example.com"]})),
        (identify(JANE), identify({"city": "Bonn"}, userId="jane")),
        (identify(JANE), identify({"email": "jane@example.com"}, userId=None)),
    ],
)
def test_a_common_user_id_or_email_is_the_same_person(first: dict[str, Any], second: dict[str, Any]) -> None:
    known = apply_identify(Visitor.EMPTY, first, browser(), None)
    assert apply_identify(known, second, browser(), None).traits["ph"] == known.traits["ph"]


@pytest.mark.parametrize("call", [identify(userId=None), identify(userId=""), identify({}, userId=None)])
def test_an_identify_with_an_empty_user_id_signs_the_person_out_and_keeps_the_click_ids(
    call: dict[str, Any],
) -> None:
    known = apply_identify(Visitor.EMPTY, identify(JANE, userId="jane"), browser(epik="e"), None)
    assert apply_identify(known, call, browser(), None) == Visitor(epik="e", epik_at=known.epik_at)


def test_an_identify_that_does_not_mention_the_user_id_signs_nobody_out() -> None:
    known = apply_identify(Visitor.EMPTY, identify(JANE, userId="jane"), browser(), None)
    assert apply_identify(known, identify({"city": "Bonn"}), browser(), None).user_id == sha("jane")


def test_a_blank_value_does_not_delete_an_earlier_value() -> None:
    known = apply_identify(Visitor.EMPTY, identify({"email": "john.doe@example.com"}), browser(), None)
    assert apply_identify(known, identify({"email": ""}), browser(), None) is known


def test_another_user_id_is_another_person() -> None:
    john = apply_identify(
        Visitor.EMPTY, identify({"email": "john.doe@example.com"}, userId="john"), browser(), None
    )
    jane = apply_identify(john, identify({"firstName": "Jane"}, userId="jane"), browser(), None)
    assert jane == Visitor(traits={"fn": [sha("jane")]}, user_id=sha("jane"))


def test_the_same_user_id_later_is_the_same_person() -> None:
    anonymous = apply_identify(Visitor.EMPTY, identify({"email": "john.doe@example.com"}), browser(), None)
    known = apply_identify(anonymous, identify(userId=42), browser(), None)
    assert known == Visitor(traits={"em": [EM]}, user_id=sha("42"))


def test_click_ids_are_stored_and_the_page_takes_precedence_over_the_cookie() -> None:
    page = {"type": "page", "context": {"page": {"url": "https://example.com/?epik=fresh"}}}
    visitor = with_click_ids(Visitor.EMPTY, page, browser(epik="stale", pin_unauth="pin-1"))
    assert visitor == Visitor(epik="fresh", epik_at=1706540000.25, pin_unauth="pin-1")


def test_a_visitor_without_changes_is_the_same_object() -> None:
    visitor = Visitor(epik="e", epik_at=1.0, pin_unauth="p")
    assert with_click_ids(visitor, {"type": "page"}, browser()) is visitor
    assert with_click_ids(visitor, {"type": "page"}, browser(epik="e", pin_unauth="p")) is visitor


_TRAITS = [
    {"email": f"p{n}@example.com", "phone": f"+49151123456{n}0", "firstName": f"anna{n}", "zip": f"5311{n}"}
    for n in range(3)
]
_HASHES = [{digest for values in _hash_traits(one, None).values() for digest in values} for one in _TRAITS]
_people = st.integers(0, 2)
_traits = st.tuples(_people, st.sets(st.sampled_from(["phone", "firstName", "zip"]))).map(
    lambda drawn: {name: _TRAITS[drawn[0]][name] for name in ("email", *sorted(drawn[1]))}
)


def _call(kind: str, traits: dict[str, Any] | None, user_id: int | None) -> dict[str, Any]:
    # Only a person with this e-mail address ever has this user id.
    known = user_id is not None and traits is not None and traits["email"] == _TRAITS[user_id]["email"]
    said = {"userId": f"u{user_id}"} if known else {}
    return {"type": kind, "event": "Lead", "traits": traits} | said


@given(
    calls=st.lists(
        st.builds(_call, st.sampled_from(["identify", "track"]), st.none() | _traits, st.none() | _people),
        max_size=8,
    ),
    stale=st.none() | _traits,
)
def test_no_event_has_traits_of_two_people(calls: list[dict[str, Any]], stale: dict[str, Any] | None) -> None:
    """Each statement names the person's e-mail address; ``stale`` is what a library kept of an earlier person."""
    visitor = Visitor.EMPTY
    for call in calls:
        if call["type"] == "identify":
            visitor = apply_identify(visitor, call, browser(), None)
        event = call | {"type": "track", "context": {"traits": stale} if stale else {}}
        data = build_user_data(read_call(event, browser(), Options()), visitor, Notes())
        sent = {digest for name in ("em", "ph", "fn", "zp") for digest in data.get(name, [])}
        assert sum(bool(sent & own) for own in _HASHES) <= 1
