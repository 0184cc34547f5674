"""Read an event's data on the app, the device and the network."""

from collections.abc import Mapping
from typing import Any

from worker.event.redaction import clean_device_text
from worker.event.text import clean_text, fold_key, fold_keys
from worker.event.times import parse_time
from worker.pinterest.mapping.contract import APP_INFO, DEVICE_INFO, LANGUAGES, Limit, fits

_FORM_FACTORS = {
    **dict.fromkeys(("phone", "smartphone", "mobile", "handset", "iphone"), "cellphone"),
    **dict.fromkeys(("ipad",), "tablet"),
    **dict.fromkeys(("watch", "wearable"), "smartwatch"),
    **dict.fromkeys(("smarttv", "television"), "tv"),
    **dict.fromkeys(("notebook", "macbook"), "laptop"),
}
_SYSTEMS = {
    **dict.fromkeys(("iphoneos", "ipados"), "ios"),
    **dict.fromkeys(("osx", "macosx"), "macos"),
    **dict.fromkeys(("windowsnt", "win32"), "windows"),
    **dict.fromkeys(("ubuntu", "debian", "fedora"), "linux"),
}
_NETWORKS = {f"{generation}g": f"cellular_{generation}g" for generation in range(2, 7)} | {
    "lte": "cellular_4g"
}
# The words of other systems for Pinterest's, by the field.
_WORDS = {"form_factor": _FORM_FACTORS, "os_family": _SYSTEMS, "network_type": _NETWORKS}


def app_fields(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's data on the app, the device and the network, under Pinterest's names."""
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
    fields: dict[str, Any] = {key: text for key, value in raw.items() if (text := _text(value, 200))}
    wifi = network.get("wifi")
    if isinstance(wifi, bool):
        fields["wifi"] = wifi
    return fields


def app_objects(properties: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return ``app_info`` and ``device_info``, as far as there is something for them.

    A field that the sender gives under Pinterest's own name counts first. What does not fit is left out.
    """
    app, screen = fold_keys(context.get("app")), fold_keys(context.get("screen"))
    device, system = fold_keys(context.get("device")), fold_keys(context.get("os"))
    network = fold_keys(context.get("network"))
    app_raw = {
        **{f"app{key}": value for key, value in app.items()},
        "appid": app.get("id", app.get("namespace")),
        "apppackagename": _first(app, "namespace", "packagename", "bundleid", "bundleidentifier"),
        "appstore": _first(app, "store", "appstore", "installer"),
        "installtime": _seconds(_first(app, "installtime", "installedat")),
        "useragent": context.get("userAgent"),
        "windowheight": _first(screen, "innerheight", "windowheight"),
        "windowwidth": _first(screen, "innerwidth", "windowwidth"),
    }
    device_raw = {
        **device,
        **{f"screen{key}": value for key, value in screen.items()},
        "brand": _first(device, "brand", "manufacturer"),
        "carrier": _first(network, "carrier") or device.get("carrier"),
        "formfactor": _first(device, "formfactor", "type"),
        "kernelversion": system.get("kernelversion"),
        "languages": context.get("languages"),
        "locale": context.get("locale"),
        "networktype": "wifi" if network.get("wifi") is True else _first(network, "type", "technology"),
        "osfamily": _first(system, "family", "name"),
        "osname": _first(system, "shortname"),
        "osreleasename": system.get("releasename"),
        "osversion": _first(system, "version") or device.get("osversion"),
        "timezone": context.get("timezone"),
    }
    objects = {
        "app_info": _fitting(APP_INFO, _given("app_info", properties, context), app_raw),
        "device_info": _fitting(DEVICE_INFO, _given("device_info", properties, context), device_raw),
    }
    return {name: fields for name, fields in objects.items() if fields}


def _given(name: str, properties: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    return fold_keys(context.get(name)) | fold_keys(properties.get(fold_key(name)))


def _first(holder: Mapping[str, Any], *keys: str) -> Any:
    return next((holder[key] for key in keys if key in holder), None)


def _seconds(time: object) -> int | None:
    seconds = parse_time(time)
    return None if seconds is None else int(seconds)


def _fitting(
    limits: Mapping[str, Limit], values: Mapping[str, Any], derived: Mapping[str, Any]
) -> dict[str, Any]:
    fields = {}
    for name, limit in limits.items():
        for holder in (values, derived):
            value = _as_sent(name, holder.get(fold_key(name)), limit)
            if fits(value, limit):
                fields[name] = value
                break
    return fields


def _as_sent(name: str, value: Any, limit: Limit) -> Any:
    if isinstance(limit, int):
        return _text(value, limit)
    if isinstance(limit, frozenset):
        word = fold_key(value) if type(value) is str else ""
        return next((item for item in limit if fold_key(item) == word), _WORDS[name].get(word))
    if limit is LANGUAGES:
        return [text for item in value if (text := _text(item, 35))] if type(value) is list else None
    return int(value) if type(value) is float and value.is_integer() else value


def _text(value: object, longest: int) -> str | None:
    text = clean_text(value, longest)
    return clean_device_text(text) if text else None


def _language(locale: object) -> str | None:
    if not isinstance(locale, str):
        return None
    language = locale.strip().replace("_", "-").partition("-")[0].lower()
    return language if len(language) == 2 and language.isascii() and language.isalpha() else None
