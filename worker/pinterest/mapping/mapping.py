"""Map an event to Pinterest's format, for one integration."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Literal

from worker.event import json_text
from worker.event.consent.consent import check_consent
from worker.event.consent.vocabulary import read_flag
from worker.event.dialects.translate import dialect_of_name
from worker.event.json_in_text import looks_like_json
from worker.event.problems import Problem
from worker.event.received import Received
from worker.event.redaction import Regions, clean_url
from worker.event.text import clean_text, fold_key, fold_keys
from worker.event.times import parse_time
from worker.pinterest.custom_data.custom_data import build_custom_data
from worker.pinterest.custom_data.refunds import Refund, find_refund
from worker.pinterest.event_names.event_names import (
    CUSTOM_KIND,
    PAGE_KIND,
    EventKind,
    event_kind,
    may_be_an_order,
)
from worker.pinterest.event_names.overrides import find_rule
from worker.pinterest.mapping.apps import app_fields, app_objects
from worker.pinterest.mapping.call import Call, Explanation, Notes, Options, read_call
from worker.pinterest.mapping.contract import ACTION_SOURCES
from worker.pinterest.mapping.explained_properties import explain_properties
from worker.pinterest.mapping.payload_checks import (
    Dropped,
    Failed,
    Filtered,
    Mapped,
    Outcome,
    TimeError,
    Timing,
    check_payload,
    time_event,
)
from worker.pinterest.user_data.user_data import build_user_data, likely_countries
from worker.pinterest.user_data.visitor import Visitor

_ANDROID = ("android", "kotlin")
_IOS = ("ios", "iphone", "ipad", "ipados", "swift")
_LONGEST_WORD = 64
_BROWSERS = ("Mozilla/", "Opera/")
_APP_SOURCES = ("app_android", "app_ios")
_OFFLINE_CHANNELS = frozenset(("offline", "instore", "store", "pos", "retail", "callcenter", "phonecall"))


def _action_source(call: Call, notes: Notes) -> str:
    """Return where an event took place, as one of Pinterest's action sources.

    A browser's event is always ``web``; an app may use the public key too. A server may send one of Pinterest's action
    sources; without one, app and offline events are recognised by library, operating system and channel, and everything
    else is ``web``.
    """
    context, properties = call.context, call.properties
    if call.received.channel == "browser" and not _is_app(call):
        if notes.explain is not None:
            notes.explain.add("source", "action_source web, as for all browser events")
        return "web"
    source = _stated_source(call)
    if isinstance(source, str) and source in ACTION_SOURCES:
        return source
    if source is not None:
        notes.warn(Problem.ACTION_SOURCE_UNKNOWN, "the event's action source is not one of Pinterest's")
    source = _app_system(context) or ("offline" if _is_offline(context, properties) else "web")
    if notes.explain is not None:
        notes.explain.add("source", f"action_source {source}, from the event's library, system and channel")
    return source


def _is_app(call: Call) -> bool:
    """Return whether an app sent an event with the public key: it names itself, and its user agent is no browser's."""
    if (call.received.user_agent or "").startswith(_BROWSERS):
        return False
    return _app_system(call.context) is not None or _stated_source(call) in _APP_SOURCES


def _stated_source(call: Call) -> object:
    source = call.properties.get("actionsource", call.context.get("action_source"))
    return source.strip().lower() if isinstance(source, str) else source


def _app_system(context: Mapping[str, Any]) -> str | None:
    library = _word(context.get("library"), "name")
    # A web page on a phone also names an operating system: only an app or an app library makes it an app event.
    if not context.get("app"):
        return _system_of(library, "")
    return _system_of(library, _word(context.get("os"), "name") or _word(context.get("device"), "type"))


@lru_cache(maxsize=1024)
def _system_of(library: str, system: str) -> str | None:
    library, system = fold_key(library), fold_key(system)
    for words, source in ((_ANDROID, "app_android"), (_IOS, "app_ios")):
        if system in words or any(word in library for word in words):
            return source
    return None


def _is_offline(context: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    if properties.get("offline") is True or context.get("offline") is True:
        return True
    channel = properties.get("channel", context.get("channel"))
    return isinstance(channel, str) and fold_key(channel) in _OFFLINE_CHANNELS


def _word(holder: object, key: str) -> str:
    word = holder.get(key) if isinstance(holder, dict) else holder
    return word if isinstance(word, str) and len(word) <= _LONGEST_WORD else ""


def _opted_out(context: Mapping[str, Any], properties: Mapping[str, Any], notes: Notes) -> bool | None:
    """Return whether the visitor opted out of tracking, or None if the event does not say so."""
    values = (properties.get("optout"), context.get("opt_out"), context.get("optOut"))
    answers = [_is_set(value, True, notes) for value in values if value is not None and value != ""]
    if "device" in context:
        device = fold_keys(context["device"])
        for key, otherwise in (("limitadtracking", True), ("adtrackingenabled", False)):
            if device.get(key, "") != "" and _is_set(device[key], otherwise, notes) is otherwise:
                answers.append(True)
    return any(answers) if answers else None


def _is_set(value: object, otherwise: bool, notes: Notes) -> bool:
    """Return whether a flag is set; one that is not understood counts as ``otherwise``, so that it opts out."""
    flag = read_flag(value)
    if flag is not None:
        return flag
    if type(value) is not str or fold_key(value[:_LONGEST_WORD]) not in ("optout", "optedout"):
        notes.warn(Problem.FIELD_UNREADABLE, "the opt-out is not understood, and counts as one")
    return otherwise


_LONGEST = 1024

# Crawlers that are missing in the list of crawleruseragents: Pinterest's old name, words that only programs use, and
# HTTP libraries. Cubot is a brand of phones.
_PROGRAM = re.compile(
    r"pinterest/0\.|(?<!cu)bot\b|crawl|spider|headless|lighthouse|monitor(ing)?\b|uptime"
    r"|^(curl|wget|python|java|go-http|okhttp|axios|node|php|ruby|perl|libwww|apache-httpclient|postman)\b"
    r"|googleother|google-|-google\b|meta-external|puppeteer|playwright|selenium|chatgpt-user|claude-|perplexity"
)


def _is_bot(user_agent: str | None) -> bool:
    """Return whether a user agent is a known crawler's or program's; False without a user agent."""
    return bool(user_agent) and _is_known_bot(str(user_agent)[:_LONGEST])


# Cached, because a search of the list takes about 0.1 ms, and a shop's visitors share few user agents.
@lru_cache(maxsize=4096)
def _is_known_bot(user_agent: str) -> bool:
    # Imported here: the list takes 3 MB in each process, and most shops do not filter.
    from crawleruseragents import is_crawler

    return bool(_PROGRAM.search(user_agent.strip().lower())) or is_crawler(user_agent)


def _filtered(
    call: Call, default_consent: Literal["drop", "allow"], explain: Explanation | None
) -> Filtered | None:
    """Return the outcome of an event without consent or from a crawler, or None."""
    decision = check_consent(
        call.event,
        call.options.consent_categories,
        default_consent,
        gpc=call.received.gpc,
        groups=call.options.consent_groups,
    )
    if explain is not None:
        explain.add("consent", f"{'given' if decision.granted else 'not given'}: {decision.reason}")
    if call.options.consent_categories:
        call.consent = decision.reason[:_LONGEST_CONSENT]
    if not decision.granted:
        problems = (Problem.CONSENT_UNREADABLE,) if decision.is_unreadable else ()
        return Filtered(call.event_id, call.name, decision.reason, problems, call.consent)
    # The user agent of an app is that of its HTTP library, which programs use too.
    if call.options.bot_filter and not _is_app(call):
        in_browser = call.received.channel == "browser"
        agent = call.received.user_agent if in_browser else call.context.get("userAgent")
        if isinstance(agent, str) and _is_bot(agent):
            return Filtered(call.event_id, call.name, "the user agent is a crawler's", consent=call.consent)
    return None


def _event_kinds(call: Call, explain: Explanation | None) -> list[EventKind]:
    """Return the kinds that an event is sent as: by the integration's rule, else by the built-in table.

    The list is empty if a rule drops the event.
    """
    is_page = call.event["type"] == "page"
    options = call.options
    builtin = PAGE_KIND if is_page else event_kind(call.name, options.field_mapping)
    rule = find_rule(options.overrides, call.name, call.properties) if options.overrides else None
    sends, by = [builtin], "the built-in table"
    if rule is not None:
        sends = [EventKind(name, builtin.one_product, builtin.is_list) for name in rule.names]
        by = "the integration's rule"
    elif options.advertiser_events and not is_page:
        own_names = [name for name in options.advertiser_events if fold_key(name) == fold_key(call.name)]
        if own_names:
            sends, by = [EventKind(own_names[0])], "the advertiser's own events"
    if explain is not None:
        names = ", ".join(kind.pinterest_name for kind in sends) or "nothing"
        explain.add("event", f"{call.name!r} is sent as {names}, by {by}")
    return sends


__all__ = [
    "Dropped",
    "Explanation",
    "Failed",
    "Filtered",
    "Mapped",
    "Options",
    "Outcome",
    "encode_payload",
    "map_event",
    "map_events",
]

_LONGEST_URL = 4096
_LONGEST_CONSENT = 200
_DefaultConsent = Literal["drop", "allow"]
_Arguments = tuple[Mapping[str, Any], Received, Visitor, Options, float, _DefaultConsent, Explanation | None]


def map_event(
    event: Mapping[str, Any],
    received: Received,
    visitor: Visitor,
    options: Options,
    now: float,
    default_consent: _DefaultConsent,
    explain: Explanation | None = None,
) -> list[Outcome]:
    """Return an event's outcomes: one for each Pinterest event, none for ``identify`` and ``group``.

    The event may hold any JSON; the function raises no error for it. The same arguments give the same outcomes. ``now``
    (Unix seconds) only decides whether an event is late or stale.
    """
    (outcomes,) = map_events([(event, received, visitor, options, now, default_consent, explain)])
    return outcomes


def map_events(events: Iterable[_Arguments]) -> list[list[Outcome]]:
    """Return the outcomes of several events, each given by the arguments of ``map_event``, in their order.

    All events take a step before any takes the next: the processor then has the step's code at hand, and an event of
    many takes half to three quarters of the time of a single event.
    """
    outcomes: list[list[Outcome]] = []
    running = []
    for place, arguments in enumerate(events):
        outcomes.append([])
        running.append((place, _steps(*arguments)))
    while running:
        going_on = []
        for place, steps in running:
            result = next(steps)
            if result is None:
                going_on.append((place, steps))
            else:
                outcomes[place] = result
        running = going_on
    return outcomes


def _steps(
    event: Mapping[str, Any],
    received: Received,
    visitor: Visitor,
    options: Options,
    now: float,
    default_consent: _DefaultConsent,
    explain: Explanation | None,
) -> Iterator[list[Outcome] | None]:
    """Map an event; yield None after each step, and the outcomes at last."""
    if event.get("type") not in ("track", "page"):
        yield []
        return
    call = read_call(event, received, options)
    yield None
    if explain is not None:
        explain.add("event", f"{event['type']} call {call.name!r}, event id {call.event_id!r}")
        _explain_dialect(call, explain)
    if filtered := _filtered(call, default_consent, explain):
        yield [filtered]
        return
    yield None
    try:
        timing = time_event(_dated(call), received, now, explain)
    except TimeError as error:
        yield [Failed(None, call.event_id, call.name, error.reason_class, f"{error}.", consent=call.consent)]
        return
    kinds = _event_kinds(call, explain)
    if not kinds:
        yield [Dropped(call.event_id, call.name, "an override drops this event", consent=call.consent)]
        return
    refund = _find_refund(call, kinds)
    if refund is not None:
        if explain is not None:
            explain.add("refund", refund.reason)
        yield [_refunded(call, refund, timing)]
        return
    yield None
    shared = Notes(explain)
    for problem, text in call.flaws:
        shared.warn(problem, text)
    regions = partial(_regions, call, visitor)
    base = _base(call, visitor, timing, regions, shared)
    yield None
    made: list[tuple[dict[str, Any], Notes]] = []
    for kind in kinds:
        notes = shared if len(kinds) == 1 else shared.copy()
        made.append((_payload(base, kind, call, regions, notes), notes))
    yield None
    yield [check_payload(payload, call, timing, notes) for payload, notes in made]


def _dated(call: Call) -> Mapping[str, Any]:
    """Return the event, with the time at which another platform says that it happened if it has no timestamp."""
    if not call.dialects or call.event.get("timestamp") not in (None, ""):
        return call.event
    happened = parse_time(call.properties.get("eventtime"))
    if happened is None or happened > call.received.received_at:
        return call.event
    return {**call.event, "timestamp": happened}


def _find_refund(call: Call, kinds: Sequence[EventKind]) -> Refund | None:
    """Return what an event takes back; a rule of the integration for its name decides itself."""
    overrides = call.options.overrides
    by_name = not (overrides and find_rule(overrides, call.name, call.properties))
    is_checkout = "checkout" in [kind.pinterest_name for kind in kinds]
    return find_refund(call.name, call.properties, by_name=by_name, is_checkout=is_checkout)


def _refunded(call: Call, refund: Refund, timing: Timing) -> Dropped:
    return Dropped(
        call.event_id,
        call.name,
        refund.reason,
        "refund",
        event_time=timing.event_time,
        refund=refund,
        consent=call.consent,
    )


def encode_payload(payload: Mapping[str, Any]) -> bytes:
    """Return a payload as compact JSON in UTF-8, to be joined into a request body."""
    return json_text.format_json(payload)


def _explain_dialect(call: Call, explain: Explanation) -> None:
    named = dialect_of_name(call.name)
    names = [*call.dialects, named] if named and named not in call.dialects else call.dialects
    if names:
        explain.add("dialect", f"read as {', '.join(names)}")


def _regions(call: Call, visitor: Visitor) -> tuple[str, ...]:
    """Return the likely countries of an event's person, for phone numbers in texts; ``EU`` for a price in euros."""
    countries, currency = likely_countries(call, visitor), call.properties.get("currency")
    return (*countries, "EU") if type(currency) is str and currency.strip().upper() == "EUR" else countries


def _base(call: Call, visitor: Visitor, timing: Timing, regions: Regions, notes: Notes) -> dict[str, Any]:
    """Return the fields that all payloads of one event share."""
    source = _action_source(call, notes)
    if call.is_id_cleaned:
        notes.warn_of_cleaned_id("event id")
    base: dict[str, Any] = {
        "action_source": source,
        "event_time": timing.event_time,
        "event_id": call.event_id,
    }
    url = _source_url(call, regions, notes)
    if url:
        base["event_source_url"] = url
    if source != "web":
        base |= app_fields(call.context)
        if source != "offline" and call.options.sends_newest:
            base |= app_objects(call.properties, call.context)
    opt_out = _opted_out(call.context, call.properties, notes)
    if opt_out is not None:
        base["opt_out"] = opt_out
    base["user_data"] = build_user_data(call, visitor, notes)
    return base


def _source_url(call: Call, regions: Regions, notes: Notes) -> str | None:
    url = clean_text(call.page_url, _LONGEST_URL)
    if url is None or looks_like_json(url):
        return None
    if not call.options.clean_free_text:
        return url
    cleaned = clean_url(url, regions)
    if cleaned != url and notes.explain is not None:
        notes.explain.add("privacy", "event_source_url: personal data removed")
    return cleaned or None


def _payload(
    base: Mapping[str, Any], kind: EventKind, call: Call, regions: Regions, notes: Notes
) -> dict[str, Any]:
    """Return the payload for one of Pinterest's event names."""
    payload: dict[str, Any] = {"event_name": kind.pinterest_name, **base}
    data = build_custom_data(call.properties, kind, call.options, notes, regions)
    if data:
        payload["custom_data"] = data
        if kind is CUSTOM_KIND and "order_id" in data and "value" in data and may_be_an_order(call.name):
            notes.warn(
                Problem.LOOKS_LIKE_CHECKOUT,
                f"{call.name!r} is sent as custom, but has a value and an order id: "
                "if it is an order, map the name to checkout",
            )
    if notes.explain is not None:
        explain_properties(call, data, notes)
    return payload
