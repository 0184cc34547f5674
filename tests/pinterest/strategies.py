"""Strategies for arbitrary events: any JSON, mixed with the words that the mapping looks for."""

from typing import Any

from hypothesis import strategies as st

# Difficult texts: blanks, placeholders, amounts, contact data, hashes, times, half a surrogate pair.
BITING = st.sampled_from(
    [
        "", " ", "null", "undefined", "NaN", "Infinity", "-Infinity", "[object Object]", "0", "-1", "1e21", "1,299",
        "$1,299.00", "1.299,00 €", "0.30000000000000004", "USD", "eur", "EURO", "a@b.example", "A@B.Example ", "@",
        "+1 (555) 123-4567", "00000000-0000-0000-0000-000000000000", "e3b0" * 16, "F" * 64, "1990-02-30", "2024",
        "https://example.com/?epik=abc&email=a@b.example", "http://[::1", "::1", "203.0.113.9", "SKU-A,SKU-B", "\ud800",
        "\0", "Müller", "Ⅳ", "İ", "2024-01-29T14:53:20.000Z", "1706540000", "x" * 3000, "drop", "ios", "LDP",
    ]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**25)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | BITING
)
WORDS = """
value total revenue currency price quantity products items contents content_ids num_items order_quantity
order_id product_id productId id sku item_id name item_name category brand query search_string content_name
event_id eventId email phone userData user_data opt_out opt_out_type action_source channel offline url
predicted_ltv firstName city state zip country address advertisingId page app os device network library
locale wifi carrier adTrackingEnabled consent ip userAgent traits external_id gender birthday idfa
"""
KEYS = st.sampled_from(WORDS.split()) | st.text(st.characters(), max_size=8)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=8)
NAMES = st.sampled_from(
    [
        "Order Completed",
        "purchase",
        "Product Viewed",
        "Product Added",
        "view_item_list",
        "search",
        "Signed Up",
    ]
) | st.text(st.characters(), max_size=20)
EVENTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "page", "identify", "group"])},
    optional={
        "event": NAMES | JSON,
        "properties": OBJECTS | JSON,
        "traits": OBJECTS | JSON,
        "context": OBJECTS | JSON,
        "userId": SCALARS,
        "anonymousId": SCALARS,
        "messageId": SCALARS,
        "timestamp": SCALARS,
        "sentAt": SCALARS,
    },
)
