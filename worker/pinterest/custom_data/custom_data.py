"""Build an event's custom data: money, products and searches."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from worker.event.consent.vocabulary import read_flag
from worker.event.json_in_text import looks_like_json, open_text
from worker.event.problems import Problem
from worker.event.redaction import Regions, are_plain_product_ids, clean_free_text, clean_id
from worker.event.text import cached_by_keys, clean_text, fold_key, fold_keys
from worker.pinterest.custom_data.items import (
    UNREADABLE,
    Item,
    read_count,
    read_currency,
    read_id,
    read_items,
    read_price,
)
from worker.pinterest.custom_data.money import MAX_AMOUNT, Amount, AmountError, format_decimal, read_amount
from worker.pinterest.event_names.event_names import EventKind
from worker.pinterest.mapping.call import Notes, Options
from worker.pinterest.mapping.contract import SharedContent

_Clean = Callable[[str], str]

# The senders' folded spellings of each field, the best spelling first.
PROPERTY_KEYS: Mapping[str, tuple[str, ...]] = {
    "value": (
        *(
            "total",
            "revenue",
            "value",
            "ordertotal",
            "totalprice",
            "ordervalue",
            "grandtotal",
            "ordergrandtotal",
        ),
        *("totalamount", "ordertotalamount", "orderamount", "totalvalue", "currenttotalprice", "totalpaid"),
        *("totalincltax", "totalinctax", "amounttotal", "totalrevenue", "orderrevenue", "transactiontotal"),
        *(
            "transactionrevenue",
            "transactionvalue",
            "purchasevalue",
            "carttotal",
            "cartvalue",
            "checkouttotal",
        ),
        *("ecommtotalvalue", "revenuevalue", "conversionvalue", "pricetotal"),
    ),
    "currency": (
        *("currency", "currencycode", "ordercurrency", "ordercurrencycode", "currencyiso", "isocurrencycode"),
        *("transactioncurrency", "cartcurrency", "checkoutcurrency", "valuecurrency", "presentmentcurrency"),
        *("pricecurrency", "basecurrencycode"),
    ),
    "order_id": (
        *(
            "orderid",
            "transactionid",
            "ordernumber",
            "incrementid",
            "ordername",
            "orderno",
            "ordernum",
            "ordercode",
        ),
        *(
            "orderreference",
            "orderref",
            "reference",
            "purchaseid",
            "receiptid",
            "salesorderid",
            "confirmationnumber",
        ),
    ),
    "num_items": (
        *(
            "numitems",
            "orderquantity",
            "itemcount",
            "totalquantity",
            "numberitems",
            "numberofitems",
            "itemscount",
        ),
        *(
            "totalitems",
            "itemsqty",
            "totalqty",
            "totalqtyordered",
            "totalitemquantity",
            "productcount",
            "cartquantity",
        ),
    ),
    "content_ids": (
        *("contentids", "productids", "itemids", "skus", "productskus", "ecommprodid", "variantids"),
    ),
    "search_string": (
        *("query", "searchquery", "searchterm", "searchstring", "keyword", "q", "search", "term", "keywords"),
        *("searchterms", "searchkeyword", "searchkeywords", "searchtext", "searchphrase", "querytext"),
    ),
    "predicted_ltv": ("predictedltv",),
    "content_name": ("contentname",),
    "content_category": ("contentcategory",),
    "content_brand": ("contentbrand",),
}


def build_custom_data(
    properties: Mapping[str, Any],
    kind: EventKind,
    options: Options,
    notes: Notes,
    regions: Regions = tuple,
) -> dict[str, Any]:
    """Return an event's ``custom_data``, which may be empty; the keys of ``properties`` are folded.

    Values from the sender are never overwritten. Missing values are computed from the products, and noted as computed.
    """
    if not properties and not options.limited_data_processing:
        return {}
    fields = _stated(properties)
    currency = read_currency(fields.get("currency"), "the value", notes)
    items = read_items(properties, kind.one_product, currency, notes, options.product_id_source)
    cut = _cut(properties, items, notes)
    value = None
    if currency is UNREADABLE:
        currency, items = None, list(map(_without_price, items))
    else:
        value = _read_value(properties, currency, options, notes) if "value" in fields else None
        currency = (
            currency or _sign_currency(value, items, notes) or _usual_currency(value, items, options, notes)
        )
        if value is not None and items and not kind.is_list and not cut:
            _compare(value, items, notes)
    data: dict[str, Any] = {}
    if currency and (value or items):
        data["currency"] = currency
    if value is None and items and not kind.is_list and not cut:
        value = _add_up(items, currency, notes)
    if value is not None:
        data["value"] = value.text
        if not currency:
            notes.warn(Problem.CURRENCY_MISSING, "value without a currency: Pinterest takes the ad account's")
    _add_order(data, fields, notes)
    clean = partial(clean_free_text, regions=regions) if options.clean_free_text else str
    _add_contents(data, properties, fields, items, options, notes, clean, cut=cut)
    if kind.is_list or not _TEXT_FIELDS.isdisjoint(fields):
        _add_texts(data, properties, fields, kind, bool(items), clean)
    _add_privacy(data, properties, options, notes)
    _clean_ids(data, notes)
    return data


def _without_price(item: Item) -> Item:
    content = {key: value for key, value in item.content.items() if key != "item_price"}
    return replace(item, price=None, content=SharedContent(content))


def _clean_ids(data: dict[str, Any], notes: Notes) -> None:
    """Replace ids that hold personal data by their hashes."""
    raw, ids = data.get("order_id"), data.get("content_ids", [])
    if raw and (cleaned := clean_id(raw)) != raw:
        data["order_id"] = cleaned
        notes.warn_of_cleaned_id("order id")
    inside = [content["id"] for content in data.get("contents", ()) if "id" in content]
    if are_plain_product_ids(ids) and (inside == ids or are_plain_product_ids(inside)):
        return
    cleaned_ids = list(map(clean_id, ids))
    if cleaned_ids != ids:
        data["content_ids"] = cleaned_ids
        notes.warn_of_cleaned_id("product id")
    if inside:
        # Events share the objects of products.
        data["contents"] = [
            {**content, "id": clean_id(content["id"])} if "id" in content else content
            for content in data["contents"]
        ]


# The property of an event that was cut at intake: how many products were left out.
CUT_KEY = "products_cut"
_FOLDED_CUT_KEY = fold_key(CUT_KEY)
_MOST_SENT = 500


def _cut(properties: Mapping[str, Any], items: list[Item], notes: Notes) -> bool:
    """Return whether products were left out at intake, so that nothing may be computed from the others."""
    if len(items) > _MOST_SENT:
        notes.warn(Problem.LIST_CUT, f"only the first {_MOST_SENT} products are sent")
    cut = properties.get(_FOLDED_CUT_KEY)
    if not isinstance(cut, int) or cut < 1:
        return False
    notes.warn(Problem.LIST_CUT, f"the event was larger than 64 KB: its last {cut} products are not sent")
    return True


@cached_by_keys(1024)
def _spelled(keys: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the spellings of each field that are among the keys, the best first, for the fields that have one."""
    spellings_of = {
        field: tuple(key for key in known if key in keys) for field, known in PROPERTY_KEYS.items()
    }
    return {field: spellings for field, spellings in spellings_of.items() if spellings}


def _stated(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first value of each field that the properties have under any of its spellings."""
    fields = {}
    for field, keys in _spelled(tuple(properties)).items():
        for key in keys:
            value = properties[key]
            if value is not None and value != "":
                fields[field] = value
                break
    return fields


def _read_value(
    properties: Mapping[str, Any], currency: str | None, options: Options, notes: Notes
) -> Amount | None:
    for key in PROPERTY_KEYS["value"]:
        if key in properties:
            value = read_price(properties[key], currency, f"the order's value ({key})", notes)
            if value is not None:
                # Revenue is without tax and shipping in Segment's specification.
                if options.value_basis == "total" or key == "revenue":
                    return value
                return _without_tax_and_shipping(value, properties, currency, notes)
    return None


_TAX_KEYS = ("tax", "totaltax", "taxtotal", "taxamount", "taxes", "taxlines")
_SHIPPING_KEYS = (
    *("shipping", "shippingcost", "shippingtotal", "totalshipping", "shippingamount", "shippingprice"),
    *("shippinglines", "totalshippingpriceset"),
)


def _without_tax_and_shipping(
    value: Amount, properties: Mapping[str, Any], currency: str | None, notes: Notes
) -> Amount:
    parts = [_stated_sum(properties, keys, currency) for keys in (_TAX_KEYS, _SHIPPING_KEYS)]
    if not any(parts):
        return value
    number = max(value.number - sum(parts), Decimal(0))
    text = format_decimal(number)
    notes.compute("value", f"{text}, the total of {value.text} without tax and shipping")
    return value._replace(number=number, text=text)


def _stated_sum(properties: Mapping[str, Any], keys: tuple[str, ...], currency: str | None) -> Decimal:
    """Return the first amount under these keys, or the sum of a list of them; 0 without one."""
    for key in keys:
        raw = properties.get(key)
        amounts = [_amount_of(part, currency) for part in (raw if type(raw) is list else [raw])]
        if raw and None not in amounts:
            return sum((number for number in amounts if number is not None), Decimal(0))
    return Decimal(0)


def _amount_of(raw: object, currency: str | None) -> Decimal | None:
    if isinstance(raw, dict):
        folded = fold_keys(raw)
        # A line of tax or shipping; the price comes first.
        raw = next((folded[key] for key in ("price", "total", "amount", "cost") if key in folded), raw)
    try:
        return read_amount(raw, currency).number
    except AmountError:
        return None


# Fewer and more than taxes, shipping and discounts explain: cents for euros, or another currency.
_CONTRADICTING_FACTOR = 40


def _compare(value: Amount, items: list[Item], notes: Notes) -> None:
    """Warn of a value that is far from what the products cost."""
    total, number = 0.0, float(value.text)
    for item in items:
        if item.cost is None:
            return
        total += item.cost
    if number > 0 < total and (
        number >= _CONTRADICTING_FACTOR * total or total >= _CONTRADICTING_FACTOR * number
    ):
        notes.warn(
            Problem.VALUE_CONTRADICTS_PRODUCTS,
            f"the value is {value.text}, but the products' prices add up to {total:.2f}",
        )


def _sign_currency(value: Amount | None, items: list[Item], notes: Notes) -> str | None:
    """Return the currency that all amounts are written with, if there is exactly one."""
    currencies = {value.currency} if value else {item.currency for item in items}
    if len(currencies) != 1 or None in currencies:
        return None
    code = currencies.pop()
    notes.compute("currency", f"{code}, as the amounts are written")
    return code


def _usual_currency(value: Amount | None, items: list[Item], options: Options, notes: Notes) -> str | None:
    """Return the integration's currency for amounts of which none states one."""
    amounts = [amount for amount in (value, *(item.price for item in items)) if amount is not None]
    currencies = [value and value.currency, *(item.currency for item in items)]
    if options.default_currency is None or not amounts or any(currencies):
        return None
    notes.compute("currency", f"{options.default_currency}, the default currency of the integration")
    return options.default_currency


def _add_up(items: list[Item], currency: str | None, notes: Notes) -> Amount | None:
    if any(item.price is None for item in items):
        return None
    if len({item.currency or currency for item in items}) > 1:
        notes.warn(
            Problem.VALUE_NOT_COMPUTED, "no value is computed: the products are priced in several currencies"
        )
        return None
    total = sum((item.price.number * item.pieces for item in items if item.price), Decimal(0))
    if total >= MAX_AMOUNT:
        notes.warn(
            Problem.VALUE_NOT_COMPUTED, "no value is computed: the products' prices add up to too much"
        )
        return None
    text = format_decimal(round(total, 6))
    notes.compute("value", f"{text}, the products' prices times their quantities")
    return Amount(total, currency, text)


def read_order_id(properties: Mapping[str, Any]) -> str | None:
    """Return the order id of an event's properties, whose keys are folded."""
    return clean_text(_stated(properties).get("order_id"))


def _add_order(data: dict[str, Any], fields: Mapping[str, Any], notes: Notes) -> None:
    raw = fields.get("order_id")
    order_id = clean_text(raw) if raw is not None else None
    if order_id:
        data["order_id"] = order_id
    elif raw is not None and type(raw) is not str:
        notes.warn(
            Problem.FIELD_UNREADABLE, "the order id is left out: it is neither a text nor a whole number"
        )
    ltv = fields.get("predicted_ltv")
    if ltv is not None and (amount := read_price(ltv, None, "predicted_ltv", notes)):
        data["predicted_ltv"] = amount.text


def _add_contents(
    data: dict[str, Any],
    properties: Mapping[str, Any],
    fields: Mapping[str, Any],
    items: list[Item],
    options: Options,
    notes: Notes,
    clean: _Clean,
    *,
    cut: bool,
) -> None:
    raw = fields.get("num_items")
    count = read_count(raw) if cut else _count(data, raw, properties.get("quantity"), items, notes)
    if count:
        data["num_items"] = count
    if len(items) > _MOST_SENT:
        items = items[:_MOST_SENT]
    own_ids = list(dict.fromkeys([item.id for item in items if item.id]))
    given = []
    if "content_ids" in fields and (options.product_id_source is None or not own_ids):
        given = _given_ids(fields["content_ids"], notes)
    ids = given or own_ids
    has_affixes = bool(options.product_id_prefix or options.product_id_suffix)
    if has_affixes:
        ids = [_with_affixes(content_id, options) for content_id in ids]
    if ids:
        data["content_ids"] = ids
    # A quantity alone does not describe a product.
    if has_affixes or options.field_mapping == "pinterest":
        made = [_content(item, options, clean) for item in items]
        contents = [content for content in made if len(content) > ("quantity" in content)]
    else:
        # Events share the objects.
        contents = [item.content for item in items if item.has_id_or_price]
    if contents:
        data["contents"] = contents


def _count(
    data: Mapping[str, Any], raw: object, quantity: object, items: list[Item], notes: Notes
) -> int | None:
    count = read_count(raw) if raw is not None else None
    if raw is not None and count is None:
        notes.warn(Problem.ITEM_COUNT_UNREADABLE, "the number of items is not a whole number above zero")
    if not items:
        return count or (read_count(quantity) if "value" in data else None)
    summed = sum([item.count for item in items])
    if count is None:
        notes.compute("num_items", f"{summed}, the products' quantities added up")
        return summed
    if count != summed:
        notes.warn(
            Problem.ITEM_COUNT_CONTRADICTS_PRODUCTS,
            f"the number of items is given as {count}, but the products' quantities add up to {summed}",
        )
    return count


def _given_ids(value: object, notes: Notes) -> list[str]:
    raw: Any = open_text(value)
    if isinstance(raw, str):
        raw = [raw] if looks_like_json(raw) else raw.split(",")
    elif not isinstance(raw, list):
        raw = [raw]
    return list(dict.fromkeys(text for entry in raw if (text := read_id(entry, notes))))


def _with_affixes(item_id: str, options: Options) -> str:
    """Return a product id as it is in the catalogue; a prefix or suffix that it has already is not repeated."""
    prefix, suffix = options.product_id_prefix, options.product_id_suffix
    if prefix and not item_id.startswith(prefix):
        item_id = prefix + item_id
    return item_id + suffix if suffix and not item_id.endswith(suffix) else item_id


_ITEM_TEXTS = ("name", "category", "brand", "brand_id")


def _content(item: Item, options: Options, clean: _Clean) -> dict[str, Any]:
    """Return what is sent of a product, with the integration's affixes and the texts of the mapping ``pinterest``."""
    content = dict(item.content)
    if item.id is not None:
        content["id"] = _with_affixes(item.id, options)
    if options.field_mapping == "pinterest":
        for part in _ITEM_TEXTS if options.sends_newest else _ITEM_TEXTS[:-1]:
            text = clean_text(item.parts.get(part))
            if text and (cleaned := clean(text)):
                content[f"item_{part}"] = cleaned
    return content


def _add_texts(
    data: dict[str, Any],
    properties: Mapping[str, Any],
    fields: Mapping[str, Any],
    kind: EventKind,
    has_items: bool,
    clean: _Clean,
) -> None:
    for field, key in _TEXT_KEYS:
        raw = properties.get(key)
        if field == "search_string" and kind.pinterest_name == "search":
            raw = fields.get(field)
        elif field == "content_category" and raw is None and kind.is_list and not has_items:
            raw = properties.get("category")
        text = clean_text(_search_text(raw) if field == "search_string" else raw) if raw is not None else None
        if text and (cleaned := clean(text)):
            data[field] = cleaned


def _search_text(raw: Any) -> Any:
    """Return the text of a search that is an object or a list of words, also as JSON in a text."""
    raw = open_text(raw)
    if isinstance(raw, str) and looks_like_json(raw):
        return None
    if isinstance(raw, dict):
        folded = fold_keys(raw)
        return next((folded[key] for key in ("text", "query", "term", "value", "q") if key in folded), None)
    if isinstance(raw, list):
        return " ".join(word for word in raw if isinstance(word, str))
    return raw


# Only on searches does ``query`` hold a search term.
_TEXT_KEYS = (
    ("search_string", "searchstring"),
    ("content_name", "contentname"),
    ("content_category", "contentcategory"),
    ("content_brand", "contentbrand"),
)
_TEXT_FIELDS = frozenset(field for field, _ in _TEXT_KEYS)


def _add_privacy(data: dict[str, Any], properties: Mapping[str, Any], options: Options, notes: Notes) -> None:
    requested = not _PRIVACY_KEYS.isdisjoint(properties) and _is_limited(properties)
    if requested or options.limited_data_processing:
        data["opt_out_type"] = "LDP"
        if notes.explain is not None:
            by = "the integration" if options.limited_data_processing else "the event"
            notes.explain.add("privacy", f"opt_out_type LDP: {by} requests limited data processing")


# Of Pinterest, Meta and Snap; of ourselves, Google and TikTok.
_PRIVACY_LISTS = ("optouttype", "dataprocessingoptions")
_PRIVACY_FLAGS = ("limiteddataprocessing", "restricteddataprocessing", "limiteddatause")
_PRIVACY_KEYS = frozenset((*_PRIVACY_LISTS, *_PRIVACY_FLAGS))


def _is_limited(properties: Mapping[str, Any]) -> bool:
    words: list[Any] = []
    for key in _PRIVACY_LISTS:
        raw = open_text(properties.get(key))
        words += raw.split(",") if isinstance(raw, str) else raw if isinstance(raw, list) else []
    stated = {word.strip().upper() for word in words if isinstance(word, str)}
    return not stated.isdisjoint(("LDP", "LDU")) or any(
        _limits(properties.get(key)) for key in _PRIVACY_FLAGS
    )


def _limits(value: object) -> bool:
    """Return whether data processing is to be limited; what is not understood limits it."""
    return value is not None and value != "" and read_flag(value) is not False
