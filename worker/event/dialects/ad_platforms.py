"""The events of other advertising platforms: Meta, TikTok, Snap, Pinterest's tag and its Conversions API.

https://developers.facebook.com/docs/marketing-api/conversions-api/parameters
https://business-api.tiktok.com/portal/docs?id=1771101027431425
https://developers.snap.com/api/marketing-api/Conversions-API/Parameters
https://help.pinterest.com/en/business/article/add-event-codes
"""

from typing import Any

from worker.event.dialects.rewriting import Dialect, Shape, first_of, objects, words
from worker.event.json_in_text import open_text

_ACTION_SOURCES = {"website": "web", "physicalstore": "offline", "physical_store": "offline"}
# Meta's other sources of an action; Pinterest has no word for them, and an app is recognised by what it says.
_OTHER_SOURCES = words("app email phone_call chat business_messaging system_generated other")


def _rewrite_conversion(shape: Shape) -> bool:
    custom, user = shape.part("customdata"), shape.part("userdata")
    if not custom and not ({"eventsourceurl", "eventtime"} & shape.properties.keys() and user):
        return False
    shape.lift(custom)
    shape.put_device(
        user.get("clientipaddress"), user.get("clientuseragent"), shape.properties.get("eventsourceurl")
    )
    source = shape.properties.get("actionsource")
    if isinstance(source, str):
        word = source.strip().lower()
        shape.replace(actionsource=None if word in _OTHER_SOURCES else _ACTION_SOURCES.get(word, source))
    return True


_CONVERSIONS_API = Dialect(
    "Conversions API of Meta or Pinterest", words("customdata eventsourceurl"), _rewrite_conversion
)


def _rewrite_app_event(shape: Shape) -> bool:
    """Read the parameters of an app's events; https://developers.facebook.com/docs/app-events/reference."""
    event = shape.properties
    ids = open_text(event.get("fbcontentid"))
    products = objects(event.get("fbcontent")) or [
        {"id": id_} for id_ in (ids if isinstance(ids, list) else [ids]) if id_
    ]
    shape.put(
        value=event.get("valuetosum"),
        currency=event.get("fbcurrency"),
        products=products,
        numitems=event.get("fbnumitems"),
        orderid=event.get("fborderid"),
        query=event.get("fbsearchstring"),
    )
    return True


_META = Dialect(
    "Meta",
    words("fbcurrency fbcontentid fbcontent fbsearchstring"),
    _rewrite_app_event,
    names=words(
        "AddPaymentInfo AddToCart AddToWishlist CompleteRegistration Contact CustomizeProduct Donate FindLocation "
        "InitiateCheckout Lead Purchase Schedule Search StartTrial SubmitApplication Subscribe ViewContent PageView "
        "fb_mobile_purchase fb_mobile_add_to_cart fb_mobile_content_view fb_mobile_initiated_checkout "
        "fb_mobile_complete_registration fb_mobile_search fb_mobile_add_payment_info fb_mobile_activate_app"
    ),
)

_TIKTOK = Dialect("TikTok", names=words("CompletePayment PlaceAnOrder SubmitForm ClickButton Download"))


def _rewrite_snap(shape: Shape) -> bool:
    ids = first_of(shape.properties, ("itemids", "itemid"))
    if ids is None and "numberitems" not in shape.properties:
        return False
    value = first_of(shape.properties, ("value", "total", "revenue"))
    if isinstance(ids, str):
        ids = ids.replace(";", ",")
    shape.put(contentids=ids)
    pieces = shape.properties.get("numberitems")
    if isinstance(pieces, list):
        counts = [int(piece) for piece in pieces if str(piece).isdecimal() and len(str(piece)) < 7]
        shape.replace(numberitems=None, numitems=sum(counts) if len(counts) == len(pieces) else None)
    else:
        shape.put(numitems=pieces)
    if value is None and "itemids" in shape.properties:
        # With a list of items, the price is that of all of them.
        shape.replace(value=shape.properties.get("price"), price=None)
    return True


_SNAP = Dialect(
    "Snap",
    words("itemids numberitems"),
    _rewrite_snap,
    words(
        "PURCHASE ADD_CART VIEW_CONTENT START_CHECKOUT ADD_BILLING SIGN_UP SEARCH PAGE_VIEW SUBSCRIBE ADD_TO_WISHLIST "
        "APP_INSTALL APP_OPEN LIST_VIEW START_TRIAL RESERVE LOGIN SHARE SAVE"
    ),
)


def _rewrite_tag(shape: Shape) -> bool:
    lists = {
        key: value
        for key, value in shape.properties.items()
        if key in _PARALLEL and isinstance(value, list) and value
    }
    if lists:
        _zip(shape, lists)
    return True


def _zip(shape: Shape, lists: dict[str, list[Any]]) -> None:
    """Make products of lists with one entry for each product."""
    rows = max(map(len, lists.values()))
    products = [
        {key: values[row] for key, values in lists.items() if row < len(values)} for row in range(rows)
    ]
    shape.put(products=products)
    shape.replace(**dict.fromkeys(lists))


_PARALLEL = words(
    "productid productprice productunitprice productquantity productname productcategory productbrand productsku"
)
_PINTEREST_TAG = Dialect(
    "Pinterest tag",
    words("productprice productquantity"),
    _rewrite_tag,
    words("pagevisit viewcategory addtocart checkout signup watchvideo lead search custom"),
)

DIALECTS = (
    _CONVERSIONS_API,
    _SNAP,
    _PINTEREST_TAG,
    _TIKTOK,
    _META,
)
