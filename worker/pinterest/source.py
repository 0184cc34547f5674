"""Tell where an event took place: on the web, in an app, or offline."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from worker.events.keys import fold, fold_keys
from worker.events.text import clean_text
from worker.pinterest.call import Call
from worker.pinterest.contract import ACTION_SOURCES
from worker.pinterest.explain import Notes

_ANDROID = ("android", "kotlin")
_IOS = ("ios", "iphone", "ipad", "ipados", "swift")
_LONGEST_WORD = 64
_OFFLINE_CHANNELS = frozenset(("offline", "instore", "store", "pos", "retail", "callcenter", "phonecall"))


def action_source(call: Call, notes: Notes) -> str:
    """Return Pinterest's word for where an event took place.

    What comes from a browser is always ``web``. A server may name one of Pinterest's words; a channel of its
    own (``server``, ``mobile``) is none of them, so that app and offline events are told by their library,
    system and channel, and everything else is ``web``.
    """
    context, properties = call.context, call.properties
    if call.received.channel == "browser":
        if notes.explain is not None:
            notes.explain.add("source", "action_source web, as for all browser events")
        return "web"
    named = properties.get("actionsource", context.get("action_source"))
    if isinstance(named, str) and named.strip().lower() in ACTION_SOURCES:
        return named.strip().lower()
    if named is not None:
        notes.warn("the action source that the event names is none of Pinterest's")
    found = _app_system(context) or ("offline" if _is_offline(context, properties) else "web")
    if notes.explain is not None:
        notes.explain.add("source", f"action_source {found}, as the event's library, system and channel tell")
    return found


def _app_system(context: Mapping[str, Any]) -> str | None:
    library, system = _word(context.get("library"), "name"), _word(context.get("os"), "name")
    # A web page on a telephone has a system too: only an app, or a library for apps, makes it an app's event.
    if not context.get("app"):
        system = ""
    return _system_of(library, system or (_word(context.get("device"), "type") if context.get("app") else ""))


@lru_cache(maxsize=1024)
def _system_of(library: str, system: str) -> str | None:
    library, system = fold(library), fold(system)
    for words, source in ((_ANDROID, "app_android"), (_IOS, "app_ios")):
        if system in words or any(word in library for word in words):
            return source
    return None


def _is_offline(context: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    if properties.get("offline") is True or context.get("offline") is True:
        return True
    channel = properties.get("channel", context.get("channel"))
    return isinstance(channel, str) and fold(channel) in _OFFLINE_CHANNELS


def _word(holder: object, key: str) -> str:
    word = holder.get(key) if isinstance(holder, dict) else holder
    return word if isinstance(word, str) and len(word) <= _LONGEST_WORD else ""


def app_fields(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an event says of the app, the device and its network, each under Pinterest's name."""
    app, device = fold_keys(context.get("app")), fold_keys(context.get("device"))
    system, network = fold_keys(context.get("os")), fold_keys(context.get("network"))
    raw = {
        "app_id": app.get("id", app.get("namespace")),
        "app_name": app.get("name"),
        "app_version": app.get("version"),
        "device_brand": device.get("brand", device.get("manufacturer")),
        "device_carrier": network.get("carrier", device.get("carrier")),
        "device_model": device.get("model"),
        "device_type": device.get("type"),
        "os_version": system.get("version", device.get("osversion")),
        "language": _language(context.get("locale")),
    }
    fields: dict[str, Any] = {key: text for key, value in raw.items() if (text := clean_text(value, 200))}
    wifi = network.get("wifi")
    if isinstance(wifi, bool):
        fields["wifi"] = wifi
    return fields


def _language(locale: object) -> str | None:
    if not isinstance(locale, str):
        return None
    language = locale.strip().replace("_", "-").partition("-")[0].lower()
    return language if len(language) == 2 and language.isascii() and language.isalpha() else None


def opted_out(context: Mapping[str, Any], properties: Mapping[str, Any]) -> bool | None:
    """Return what the event says of opting out of tracking, or None where it says nothing."""
    for stated in (properties.get("optout"), context.get("opt_out"), context.get("optOut")):
        if isinstance(stated, bool):
            return stated
    if "device" not in context:
        return None
    device = fold_keys(context["device"])
    if device.get("adtrackingenabled") is False or device.get("limitadtracking") is True:
        return True
    return None
