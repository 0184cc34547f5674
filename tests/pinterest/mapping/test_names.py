"""Event names: the built-in table."""

import pytest

from worker.pinterest.config.overrides import _TABLES, CUSTOM_KIND, PINTEREST_NAMES, event_kind


def test_all_of_pinterests_names_are_reachable_under_both_mappings() -> None:
    assert len(PINTEREST_NAMES) == 22
    for table in _TABLES.values():
        assert {kind.pinterest_name for kind in table.values()} == PINTEREST_NAMES


@pytest.mark.parametrize(
    ("name", "signal", "pinterest"),
    [
        ("Product Viewed", "view_category", "view_content"),
        ("view_item", "view_category", "view_content"),
        ("Product List Viewed", "view_category", "view_category"),
        ("view_content", "view_content", "view_content"),
        ("Product Added", "add_to_cart", "add_to_cart"),
        ("productAdded", "add_to_cart", "add_to_cart"),
        ("add_to_cart", "add_to_cart", "add_to_cart"),
        ("ORDER COMPLETED", "checkout", "checkout"),
        ("purchase", "checkout", "checkout"),
        ("begin_checkout", "initiate_checkout", "initiate_checkout"),
        ("sign_up", "signup", "signup"),
        ("generate_lead", "lead", "lead"),
        ("Lead Generated", "lead", "lead"),
        ("Payment Info Entered", "add_payment_info", "add_payment_info"),
        ("Product Added to Wishlist", "add_to_wishlist", "add_to_wishlist"),
        ("Application Installed", "app_install", "app_install"),
        ("Trial Started", "start_trial", "start_trial"),
        ("Newsletter Opened", "custom", "custom"),
        ("!!!", "custom", "custom"),
    ],
)
def test_each_name_has_its_pinterest_names(name: str, signal: str, pinterest: str) -> None:
    assert event_kind(name, "signal").pinterest_name == signal
    assert event_kind(name, "pinterest").pinterest_name == pinterest


def test_an_unknown_name_is_a_custom_event() -> None:
    assert event_kind("Newsletter Opened", "signal") is CUSTOM_KIND
