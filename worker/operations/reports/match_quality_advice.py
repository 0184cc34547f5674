"""Say in words what would let Pinterest match more events, and what else is wrong with them."""

from dataclasses import dataclass

from worker.ledger.reports.match_quality_counts import Quality

# Below so few a share says nothing.
_LEAST_EVENTS = 20


@dataclass(frozen=True, slots=True)
class _Rule:
    """Hold an advice for events of which too few have any of some identifiers."""

    identifiers: tuple[str, ...]
    least_share: float
    words: str


# The most useful first. The shares are our own: Pinterest publishes none.
_RULES = (
    _Rule(
        ("em",),
        0.5,
        "carry an e-mail address. Call identify with the email trait when a visitor signs in, subscribes or "
        "orders: it is what Pinterest matches best.",
    ),
    _Rule(
        ("ip_ua",),
        0.95,
        "carry both IP address and user agent. Calls from a server have to pass on the visitor's, as "
        "context.ip and context.userAgent.",
    ),
    _Rule(
        ("click_id", "partner_id"),
        0.1,
        "carry a click id. Load Datafly.js on the landing pages, leave the source's cookies switched on, and "
        "keep the epik parameter when an address redirects.",
    ),
    _Rule(
        ("external_id",),
        0.3,
        "carry your own id of the visitor. Send userId with every event of a visitor who is signed in, and "
        "switch send_user_id on.",
    ),
    _Rule(
        ("ph",),
        0.1,
        "carry a phone number. Call identify with the phone trait, with the country code or with the source's "
        "default_country set.",
    ),
)

# What to change here for each component of Pinterest's Event Quality Score.
_OF_COMPONENT = {
    "hashed_email": "Call identify with the email trait when a visitor signs in, subscribes or orders.",
    "hashed_maid": "Send the app's advertising id as context.device.advertisingId.",
    "click_id_epik": "Load Datafly.js on the landing pages, and keep the epik parameter when an address redirects.",
    "advertiser_external_id": "Send userId with every event of a visitor who is signed in, and switch send_user_id on.",
    "ip_address": "Calls from a server have to pass on the visitor's address, as context.ip.",
    "user_agent": "Calls from a server have to pass on the visitor's user agent, as context.userAgent.",
    "external_event_id": "Give the Pinterest tag and this event the same id: event_id in both.",
    "order_id": "Send order_id with every order.",
    "order_value": "Send total and currency with every order.",
    "product_id": "Send products with their product_id, as in the catalogue.",
    "source_url": "Send the page's address as context.page.url.",
}

_INVALID = {
    "no_identity": "cannot be matched: they have no e-mail address, and not both IP address and user agent.",
    "missing_value": "are orders without a value: send total, or price and quantity with every product.",
    "missing_num_items": "are orders without a number of items: send products with their quantity.",
    "bad_timestamp": "have a timestamp that is not a time: send ISO 8601 in UTC.",
    "future": "have a time after their receipt: correct the sender's clock, or send sentAt.",
    "stale": "were over seven days old when they were received: send them sooner.",
    "contract": "do not meet Pinterest's contract: Failed deliveries shows the reasons.",
}
_LATE = (
    "of these events were received over an hour late: Pinterest counts them as offline and may not deduplicate them. "
    "Send them when they happen."
)
_COMPUTED = (
    "of these events have a value that was computed from their products: send the total, which includes "
    "discounts and shipping."
)
_LEAST_INVALID, _LEAST_LATE, _LEAST_COMPUTED = 0.01, 0.05, 0.05


def component_advice(component: str) -> str:
    """Return what to change here for a component of Pinterest's score; empty for an unknown one."""
    return _OF_COMPONENT.get(component, "")


def advise(quality: Quality) -> list[str]:
    """Return what to improve for the events of one name, the most useful first; nothing for a few events."""
    if quality.events < _LEAST_EVENTS:
        return []
    advice = [
        f"{percent(n / quality.events)} of the events were not sent, because they "
        f"{_INVALID.get(reason_class, f'failed ({reason_class}).')}"
        for reason_class, n in quality.invalid.most_common()
        if n >= _LEAST_INVALID * quality.events
    ]
    if quality.valid:
        advice += _for_matching(quality) + _other_advice(quality)
    return advice


def percent(share: float) -> str:
    """Write a share in percent, never rounded to 0 % or 100 %."""
    if 0 < share < 0.01:
        return "Less than 1 %"
    if 0.99 < share < 1:
        return "More than 99 %"
    return f"{share * 100:.0f} %"


def _for_matching(quality: Quality) -> list[str]:
    advice = []
    for rule in _RULES:
        # A visitor may have both, so the larger share is a lower bound for either.
        share = max(quality.share(name) for name in rule.identifiers)
        if share < rule.least_share:
            advice.append(f"{_only(share)} of these events {rule.words}")
    return advice


def _only(share: float) -> str:
    return f"Only {percent(share).lower()}" if share else "None"


def _other_advice(quality: Quality) -> list[str]:
    checks = ((quality.late, _LEAST_LATE, _LATE), (quality.computed, _LEAST_COMPUTED, _COMPUTED))
    return [
        f"{percent(n / quality.valid)} {words}"
        for n, least_share, words in checks
        if n / quality.valid >= least_share
    ]
