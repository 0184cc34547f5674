"""The stored record of a visitor."""

from typing import Any

from tests.pinterest.conftest import EM, browser, sha
from worker.pinterest.user_data.visitor import Visitor, apply_identify, with_click_ids


def identify(traits: Any = None, **fields: Any) -> dict[str, Any]:
    return {"type": "identify", "traits": traits, **fields}


def test_an_identify_call_stores_hashes_only() -> None:
    visitor = apply_identify(Visitor.EMPTY, identify({"email": " John.Doe@example.com", "phone": "0151 12345678"}),
                             browser(), "DE")  # fmt: skip
    assert visitor == Visitor(traits={"em": [EM], "ph": [sha("4915112345678")]})


def test_a_newer_value_replaces_the_older_one_field_by_field() -> None:
    older = apply_identify(
        Visitor.EMPTY, identify({"email": "old@example.com", "firstName": "John"}), browser(), None
    )
    newer = apply_identify(older, identify({"email": "john.doe@example.com"}), browser(), None)
    assert newer.traits == {"em": [EM], "fn": [sha("john")]}


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
