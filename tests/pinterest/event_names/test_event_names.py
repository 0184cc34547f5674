"""Event names: the built-in table."""

import pytest

from worker.pinterest.event_names.event_names import (
    _TABLES,
    CUSTOM_KIND,
    PINTEREST_NAMES,
    event_kind,
    may_be_an_order,
)


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


@pytest.mark.parametrize(
    ("names", "pinterest"),
    [
        (
            "Completed Order|completed_order|orderCompleted|ordercompleted|completedorder|ORDER_COMPLETE",
            "checkout",
        ),
        ("Placed Order|Order Placed|order-placed|placedorder|New Order Placed", "checkout"),
        (
            "CompletePayment|PlaceAnOrder|Payment Completed|PURCHASE|fb_mobile_purchase|dl_purchase",
            "checkout",
        ),
        ("orders/create|orders/paid|order.created|store/order/created|checkout_completed", "checkout"),
        ("eec.purchase|ecommerce_purchase|commerce.purchases|in_app_purchase|purchase_complete", "checkout"),
        (
            "Order Confirmation|Checkout Success|Purchase Successful|Made a Purchase|Purchase Event",
            "checkout",
        ),
        (
            "checkouts/create|InitiateCheckout|START_CHECKOUT|begincheckout|dl_begin_checkout",
            "initiate_checkout",
        ),
        (
            "Proceed to Checkout|commerce.checkouts|Initiated Checkout|fb_mobile_initiated_checkout",
            "initiate_checkout",
        ),
        (
            "Added Product|ADD_CART|addtobasket|Item Added to Bag|product_added_to_cart|Add To Cart",
            "add_to_cart",
        ),
        (
            "Viewed Product|product_viewed|viewitem|prodView|Product Page View|View Product Details",
            "view_category",
        ),
        (
            "Viewed Product Category|collection_viewed|LIST_VIEW|view_item_list|Product List View",
            "view_category",
        ),
        ("ViewContent|CONTENT_VIEW|fb_mobile_content_view|VIEW_CONTENT", "view_content"),
        ("payment_info_submitted|AddPaymentInfo|ADD_BILLING|Payment Details Entered", "add_payment_info"),
        (
            "CompleteRegistration|customers/create|sign_up|SIGN_UP|User Sign Up|Registered|signup_completed",
            "signup",
        ),
        ("search_submitted|Search|site search|view_search_results|Searched Products", "search"),
        ("Added Product to Wishlist|AddToWishlist|ADD_TO_WISHLIST|Added to Favourites", "add_to_wishlist"),
        ("SubmitForm|Lead|generate_lead|leadgenerated|Lead Form Submission|New Lead", "lead"),
        ("Subscribe|SUBSCRIBE|New Subscription|subscription_created", "subscribe"),
        ("StartTrial|START_TRIAL|Free Trial Started|Started Trial", "start_trial"),
        ("page_viewed|PAGE_VIEW|Active on Site|dl_page_view|Viewed Page", "page_visit"),
        ("Video Played|watchvideo|video_start|Watched Video", "watch_video"),
    ],
)
def test_word_order_endings_and_fillers_make_no_difference(names: str, pinterest: str) -> None:
    assert {name: event_kind(name, "signal").pinterest_name for name in names.split("|")} == dict.fromkeys(
        names.split("|"), pinterest
    )


@pytest.mark.parametrize(
    "names",
    [
        "Order Refunded|Refunded Order|refund|refunds/create|order_refunded|orderrefunded",
        "Order Cancelled|orders/cancelled|Cancelled Order|Order Updated|orders/updated|order.updated",
        "Checkout Step Viewed|Checkout Step Completed|Viewed Checkout Step|checkouts/update",
        "Product Removed|Removed from Cart|remove_from_cart|REMOVE_FROM_CART|product_removed_from_cart",
        "Ordered Product|Fulfilled Order|orders/fulfilled|Order Shipped|Order Delivered|draft_orders/create",
        "Cart Viewed|cart_viewed|view_cart|carts/create|Cart Updated|add_shipping_info",
        "checkout_shipping_info_submitted|checkout_contact_info_submitted|checkout_address_info_submitted",
        "products/create|product.created|Product Clicked|Product Shared|Product Reviewed|Review Added",
        "Purchase Failed|Payment Failed|Purchase Cancelled|Checkout Abandoned|Order Started",
        "Subscription Cancelled|Trial Ended|Login|Logged In|Email Opened|Coupon Entered|Bestellung",
        "order|complete|product|view|add|to|the|event|" + "a" * 100 + "|" + "order" * 7,
    ],
)
def test_a_name_that_says_something_else_is_custom(names: str) -> None:
    assert {name: event_kind(name, "signal") for name in names.split("|")} == dict.fromkeys(
        names.split("|"), CUSTOM_KIND
    )


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("Bestellung fertig", True),
        ("Sale", True),
        ("Order Done Twice", True),
        ("Order Refunded", False),
        ("refundProcessed", False),
        ("orders/updated", False),
        ("Ordered Product", False),
        ("Checkout Step Completed", False),
        ("Order Delivered", False),
        ("Invoice Sent", False),
        ("", True),
    ],
)
def test_a_later_report_on_an_order_cannot_be_the_order(name: str, answer: bool) -> None:
    assert may_be_an_order(name) is answer
