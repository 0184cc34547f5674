"""Read the products of an event."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import Any

from worker.event.json_in_text import looks_like_json, open_text
from worker.event.json_text import short_key
from worker.event.problems import Problem
from worker.event.text import cached_by_keys, clean_text, fold_key, fold_keys
from worker.pinterest.custom_data.currencies import currency_code
from worker.pinterest.custom_data.money import (
    Amount,
    AmountError,
    NegativeAmountError,
    is_blank,
    read_amount,
)
from worker.pinterest.integration_config import ProductIdSource
from worker.pinterest.mapping.call import Notes
from worker.pinterest.mapping.contract import SharedContent

# More than are sent: all of them count in the value and the number of items.
_MOST_READ = 4_000
_LONGEST_KEY = 64
_MOST_PIECES = 1_000_000

PRODUCT_LIST_KEYS = (
    *("products", "items", "contents", "lineitems", "cartitems", "orderitems", "orderlines", "cartproducts"),
    *(
        "productlist",
        "transactionproducts",
        "orderproducts",
        "purchasedproducts",
        "cartlines",
        "lines",
        "basket",
        "product",
        "item",
    ),
)
_LIST_KEYS = frozenset(PRODUCT_LIST_KEYS)
# These may also be the name of a product, or how many there are.
_SINGULAR = frozenset(("product", "item", "basket", "lines"))
# The folded spellings of each part, the best spelling first.
_SPELLINGS = {
    "id": (
        "productid",
        "id",
        "sku",
        "itemid",
        "contentid",
        "productsku",
        "itemsku",
        "skuid",
        "prodid",
        "productcode",
    ),
    "price": (
        *(
            "price",
            "itemprice",
            "unitprice",
            "productprice",
            "productunitprice",
            "saleprice",
            "finalprice",
            "priceincltax",
            "pricewithtax",
        ),
        *("unitpricewithtax", "priceperunit", "unitamount"),
    ),
    "quantity": (
        "quantity",
        "qty",
        "itemquantity",
        "productquantity",
        "qtyordered",
        "productqty",
        "itemqty",
        "units",
    ),
    "name": ("name", "itemname", "productname", "title", "producttitle", "itemtitle", "contentname"),
    "category": ("category", "itemcategory", "productcategory", "contentcategory", "producttype"),
    "brand": ("brand", "itembrand", "productbrand", "contentbrand", "vendor", "manufacturer"),
    "brand_id": ("brandid", "itembrandid", "manufacturerid"),
    "currency": ("currency", "currencycode"),
}
# A line of an order may hold its product as an object.
_PRODUCT_INSIDE = "product"
_INSIDE = ("product", "item", "merchandise", "variant")
_RANK = {
    spelling: (part, rank)
    for part, spellings in _SPELLINGS.items()
    for rank, spelling in enumerate(spellings)
}
# Which keys of a product, its own or those of an object in it, hold each id, the best first.
_ID_KEYS: Mapping[str, tuple[str, ...]] = {
    "product": ("productid", "product.id", "itemid", "contentid"),
    "variant": ("variantid", "variationid", "variant.id", "variation.id", "productvariantid", "itemvariant"),
    "sku": ("sku", "variant.sku", "productsku", "itemsku"),
    "parent": (
        "itemgroupid",
        "parentid",
        "parentproductid",
        "groupid",
        "productgroupid",
        "variant.product.id",
        "product.id",
    ),
}
_ID_HEADS = frozenset(key.partition(".")[0] for keys in _ID_KEYS.values() for key in keys)
# At the top level of an event these keys are ambiguous: a custom event's id or name need not be a product's.
_VAGUE = frozenset(("id", "title", "name", "category", "brand", "contentid", "vendor"))
# In a list these are a product's; at the top level they have fields of their own at Pinterest.
_TEXTS_OF_EVENT = frozenset(("contentname", "contentcategory", "contentbrand"))


@dataclass(slots=True)
class Item:
    """A product with at least an id, a price or a name; ``quantity`` is None if it is not a whole number.

    Events share it, so it is never changed. ``content`` is what is sent of it without texts; ``parts`` has the sender's
    name, category and brand, unchanged. A product sold by weight or length counts as one item.
    """

    id: str | None
    price: Amount | None
    quantity: int | None
    pieces: Decimal | int
    currency: str | None
    parts: Mapping[str, Any]
    content: SharedContent
    # Worked out once, because the same products are sold again and again.
    count: int = field(init=False)
    cost: float | None = field(init=False)
    has_id_or_price: bool = field(init=False)

    def __post_init__(self) -> None:
        self.count = self.quantity or 1
        # A text becomes a float in a third of the time of a Decimal.
        self.cost = None if self.price is None else float(self.price.text) * float(self.pieces)
        self.has_id_or_price = len(self.content) > ("quantity" in self.content)


def read_items(
    properties: Mapping[str, Any],
    one_product: bool,
    currency: str | None,
    notes: Notes,
    id_source: ProductIdSource | None = None,
) -> list[Item]:
    """Return an event's valid products; the keys of ``properties`` are folded.

    ``id_source`` chooses the id of a product; where it is missing, the first id that is there counts.
    Without a list, the event's own properties describe the product, if the event is about a single product.
    """
    for key in () if _LIST_KEYS.isdisjoint(properties) else PRODUCT_LIST_KEYS:
        raw = properties.get(key)
        if type(raw) is str and key not in _SINGULAR:
            raw = _open_products(key, raw, notes)
        if type(raw) in (list, dict) and raw:
            return _read_list(_entries(raw) if isinstance(raw, dict) else raw, currency, notes, id_source)
    single = _single_product(properties, one_product)
    ids = open_text(single.get("id"))
    if type(ids) is list:
        # A price is that of all of them.
        return _read_list([{"id": id_} for id_ in ids], currency, notes, None)
    if single and id_source is not None:
        _choose_id(single, properties, id_source, notes)
    item = _read_item(single, currency, notes) if single else None
    if item is None and "id" in single and "quantity" in single:
        notes.warn(
            Problem.PRODUCTS_LEFT_OUT, "the product is left out: it has no id, or a quantity below one"
        )
    return [item] if item else []


def _open_products(key: str, text: str, notes: Notes) -> Any:
    opened = open_text(text)
    # A number is how many products there are.
    if opened is text and clean_text(text) and not text.strip().isdigit():
        notes.warn(
            Problem.PRODUCTS_UNREADABLE, f"the products ({key}) are not read: they are a text, but not JSON"
        )
    return opened


def _entries(raw: dict[str, Any]) -> list[Any]:
    """Return the products of an object: itself, or, as PHP writes some lists, all of its values."""
    values = list(raw.values())
    return values if all(isinstance(value, dict) for value in values) and len(values) > 1 else [raw]


# Meta's and TikTok's words for what a content id is of.
_PRODUCT_TYPES = ("product", "product_group")


def _single_product(properties: Mapping[str, Any], one_product: bool) -> dict[str, Any]:
    if not _TEXTS_OF_EVENT.isdisjoint(properties):
        properties = {key: value for key, value in properties.items() if key not in _TEXTS_OF_EVENT}
    parts = _parts(properties, _layout if one_product else _certain_layout)
    if properties.get("contenttype") in _PRODUCT_TYPES and "contentid" in properties:
        parts.setdefault("id", properties["contentid"])
    if one_product or "id" in parts:
        for part, key in (("name", "name"), ("category", "category"), ("brand", "brand")):
            if part not in parts and key in properties:
                parts[part] = properties[key]
        return parts
    return {}


def _choose_id(parts: dict[str, Any], raw: object, id_source: ProductIdSource, notes: Notes) -> None:
    """Set a product's id to the one that the integration asks for."""
    folded = fold_keys(raw)
    for key in _ID_KEYS[id_source]:
        value: Any = folded
        for step in key.split("."):
            value = fold_keys(value).get(step)
        if (text := clean_text(value)) is not None:
            parts["id"] = text
            return
    if id_source != "product" and Problem.FIELD_UNREADABLE not in notes.problems:
        notes.warn(
            Problem.FIELD_UNREADABLE, f"a product has no {id_source} id: the first id that is there is sent"
        )


def _read_list(
    raw: list[Any], currency: str | None, notes: Notes, id_source: ProductIdSource | None
) -> list[Item]:
    if len(raw) > _MOST_READ:
        notes.warn(Problem.LIST_CUT, f"only the first {_MOST_READ} products are read")
    items = []
    for number, entry in enumerate(raw[:_MOST_READ], 1):
        text = short_key(entry, _LONGEST_KNOWN)
        item = _KNOWN_ITEMS.get((text, currency, id_source))
        if item is None:
            item = _read_entry(entry, currency, notes, id_source)
            if item is None:
                notes.warn(
                    Problem.PRODUCTS_LEFT_OUT,
                    f"product {number} has no id, no price and no name, or a quantity below one: left out",
                )
                continue
            # Each event with a line that has a warning gets that warning.
            if text is not None and not notes.problems:
                _keep((text, currency, id_source), item)
        items.append(item)
    return items


# The products of lines without warnings: a shop sells the same ones again and again.
# By the line as JSON, the order's currency and the kind of id.
_KNOWN_ITEMS: dict[tuple[bytes | None, str | None, ProductIdSource | None], Item] = {}
_MOST_KNOWN, _LONGEST_KNOWN = 8192, 500


def _keep(key: tuple[bytes, str | None, ProductIdSource | None], item: Item) -> None:
    if len(_KNOWN_ITEMS) >= _MOST_KNOWN:
        _KNOWN_ITEMS.clear()
    _KNOWN_ITEMS[key] = item


def _read_entry(
    entry: Any, currency: str | None, notes: Notes, id_source: ProductIdSource | None
) -> Item | None:
    if type(entry) is str:
        entry = open_text(entry)
    parts = _parts(entry, _layout) if isinstance(entry, dict) else {"id": entry}
    if _PRODUCT_INSIDE in parts:
        parts = _with_product_inside(parts)
    if id_source is not None:
        _choose_id(parts, entry, id_source, notes)
    return _read_item(parts, currency, notes)


_Layout = Callable[[tuple[str, ...]], list[tuple[str, str]]]


def is_product_key(key: str) -> bool:
    """Return whether a folded key describes a product."""
    return key in _RANK or key in _ID_HEADS


def _parts(raw: Mapping[str, Any], layout: _Layout) -> dict[str, Any]:
    """Return a product's values by part; the best spelling of each part counts."""
    parts: dict[str, Any] = {}
    for part, key in layout(tuple(raw)):
        value = raw[key]
        if value is not None and value != "":
            parts[part] = value
    return parts


def _with_product_inside(parts: dict[str, Any]) -> dict[str, Any]:
    """Return a line's values; those of the product inside take precedence, since the line has an id of its own."""
    inside = parts.pop(_PRODUCT_INSIDE)
    product = _parts(inside, _layout) if isinstance(inside, dict) else {}
    product.pop(_PRODUCT_INSIDE, None)
    return parts | product


@cached_by_keys(512)
def _layout(keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return each known key with its part, the best spellings last."""
    return _ranked(keys, vague=True)


@cached_by_keys(512)
def _certain_layout(keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the same without ambiguous keys."""
    return _ranked(keys, vague=False)


def _ranked(keys: tuple[str, ...], vague: bool) -> list[tuple[str, str]]:
    ranked = []
    for key in keys:
        folded = fold_key(key) if len(key) <= _LONGEST_KEY else ""
        if folded in _RANK and (vague or folded not in _VAGUE):
            part, rank = _RANK[folded]
            ranked.append((-rank, part, key))
        elif vague and folded in _INSIDE:
            ranked.append((-_INSIDE.index(folded), _PRODUCT_INSIDE, key))
    return [(part, key) for _, part, key in sorted(ranked, key=itemgetter(0))]


def _read_item(parts: Mapping[str, Any], currency: str | None, notes: Notes) -> Item | None:
    own_currency = None
    if "currency" in parts:
        own_currency = read_currency(parts["currency"], "a product's price", notes)
    # A price in an unknown currency would count in the account's.
    price = None
    if "price" in parts and own_currency is not UNREADABLE:
        price = read_price(parts["price"], own_currency or currency, "a product's price", notes)
    item_id = read_id(parts["id"], notes) if "id" in parts else None
    if item_id is None and price is None and clean_text(parts.get("name")) is None:
        return None
    pieces = _read_pieces(parts["quantity"], notes) if "quantity" in parts else 1
    if pieces <= 0:
        return None
    quantity = pieces if type(pieces) is int else _as_whole_number(pieces)
    content: dict[str, Any] = {}
    if item_id is not None:
        content["id"] = item_id
    if price is not None:
        content["item_price"] = price.text
    if quantity is not None:
        content["quantity"] = quantity
    item_currency = (own_currency or price.currency) if price else None
    return Item(item_id, price, quantity, pieces, item_currency, parts, SharedContent(content))


# The code of a currency that is given and unknown: no amount is read in it.
UNREADABLE = "?"


def read_currency(value: object, what: str, notes: Notes) -> str | None:
    """Return a currency's code, None if there is no currency, or ``UNREADABLE``, with a warning."""
    if value is None or (type(value) is str and is_blank(value)):
        return None
    code = currency_code(value)
    if code is None:
        notes.warn(Problem.CURRENCY_UNREADABLE, f"{what} is left out: its currency is not known")
        return UNREADABLE
    return code


def read_id(value: object, notes: Notes) -> str | None:
    """Return a product's id, or None; warn if it is a list or an object in text that could not be read."""
    text = clean_text(value)
    if text is None or text[0] not in "[{\"'" or not looks_like_json(text.replace("'", '"')):
        return text
    notes.warn(Problem.ID_LOOKS_LIKE_JSON, "a product id is left out: it looks like JSON")
    return None


def _as_whole_number(pieces: Decimal | int) -> int | None:
    return pieces if isinstance(pieces, int) else int(pieces) if pieces == int(pieces) else None


def read_price(value: object, currency: str | None, what: str, notes: Notes) -> Amount | None:
    """Return an amount, or None; warn if there is a value that cannot be read."""
    if value is None or (type(value) is str and is_blank(value)):
        return None
    try:
        return read_amount(value, currency)
    except AmountError as error:
        notes.warn(Problem.VALUE_UNREADABLE, f"{what} is left out: it {error}")
        return None


def _read_pieces(value: object, notes: Notes) -> Decimal | int:
    """Return the quantity of a product; 1 if it is missing or unreadable."""
    if type(value) is int and value < _MOST_PIECES:
        return max(value, 0)
    if is_blank(value):
        return 1
    try:
        pieces = read_amount(value, None).number
    except NegativeAmountError:
        return 0
    except AmountError as error:
        notes.warn(Problem.QUANTITY_UNREADABLE, f"a product's quantity is read as 1: it {error}")
        return 1
    if pieces < _MOST_PIECES:
        return pieces
    notes.warn(Problem.QUANTITY_UNREADABLE, "a product's quantity is read as 1: it is too large")
    return 1


def read_count(value: object) -> int | None:
    """Return a whole number of at least 1, from a number or a text, or None."""
    try:
        number = read_amount(value, None).number
    except AmountError:
        return None
    return int(number) if number == int(number) and 0 < number < _MOST_PIECES else None
