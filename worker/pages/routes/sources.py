"""List, create, change and delete sources."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Response, make_response, render_template, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response as AnyResponse

from worker.api import context
from worker.api.sources import KeyRotation, SourceBody, SourceChange
from worker.ledger.reports import tallies
from worker.ledger.setup import integrations as integration_store
from worker.ledger.setup import sources as store
from worker.ledger.setup.sources import ALERT_THRESHOLDS, WEBHOOK_SYSTEMS
from worker.operations.errors import OperationError
from worker.operations.reports.first_steps import show_seen
from worker.operations.setup import sources as operations
from worker.pages.base import blueprint, redirect_to
from worker.pages.forms import Form, form_texts, parse_number, split_lines
from worker.settings import PINTEREST_API_URL

_DAYS_SHOWN = 30
_TEXTS = (
    "name",
    "domains",
    "consent_browser",
    "consent_server",
    "cookie_domain",
    "default_country",
    "time_zone",
    "backlog_limit",
    "public_backlog_limit",
    "public_visitors_per_day",
    "signed_only_events",
    "consent_groups",
    *ALERT_THRESHOLDS,
    *(f"{system}_secret" for system in WEBHOOK_SYSTEMS),
    "webhook_mapping",
)
# Fields that have another name in the Management API.
_NAMES = {
    "cookies.domain": "cookie_domain",
    "default_consent.browser": "consent_browser",
    "default_consent.server": "consent_server",
}
# A pasted address, with or without scheme, user, port and path.
_ADDRESS = re.compile(
    r"^(?:(?:https?:)?//(?:[^/?#@]*@)?)?([^/?#:@\s]+?)\.?(:[0-9]+)?([/?#].*)?$", re.IGNORECASE
)
# Of these characters the standard library makes other host names than browsers do.
_NOT_CONVERTED = frozenset("ßς\u200c\u200d")
_CATEGORIES = ("advertising", "marketing", "analytics", "functional")
_NAMES |= {f"webhook_secrets.{system}": f"{system}_secret" for system in WEBHOOK_SYSTEMS}
_NAMES |= {f"alert_thresholds.{name}": name for name in ALERT_THRESHOLDS}
_NAMES |= {f"consent_groups.{category}": "consent_groups" for category in _CATEGORIES}
_FLAGS = ("dfid", "pin_unauth", "epik", "secure_cookies", "allow_null_origin", "query_views")
_NEW = {"consent_browser": "drop", "consent_server": "allow"} | dict.fromkeys(_FLAGS[:4], "yes")
_NEW |= {name: f"{limit:g}" for name, limit in ALERT_THRESHOLDS.items()}


@blueprint.get("/sources")
def _sources_page() -> str:
    """List the sources."""
    with context.app_ledger().read() as connection:
        rows = list(store.iterate_sources(connection))
    return render_template("sources.html", sources=rows)


@blueprint.get("/sources/add")
def _new_source_page() -> str:
    """Show an empty form."""
    return render_template("source_form.html", form=Form(dict(_NEW)), source=None)


@blueprint.post("/sources/add")
def _post_new_source() -> Response:
    """Create a source. Only this page shows its server secret."""
    form = Form(_sent_source_values(request.form), names=_NAMES)
    body = form.load(SourceBody(), _source_body(request.form))
    if body is not None:
        try:
            record = operations.create_source(context.request_caller(), **body)
        except OperationError as error:
            form.refuse(error)
        else:
            return make_response(_page(record["id"], secrets=record, is_new=True))
    return make_response(render_template("source_form.html", form=form, source=None), 422)


@blueprint.get("/sources/<source_id>")
def _source_page(source_id: str) -> str:
    """Show a source with its snippet."""
    return _page(source_id)


@blueprint.get("/sources/<source_id>/seen")
def _seen_part(source_id: str) -> str:
    """Render the part of a source's page that says what came in. It refreshes automatically."""
    return render_template("_source_seen.html", seen=show_seen(context.request_caller(), source_id))


@blueprint.get("/sources/<source_id>/change")
def _edit_source_page(source_id: str) -> str:
    """Show the form with the current values."""
    record = operations.get_source(context.request_caller(), source_id)
    return render_template("source_form.html", form=Form(_source_values(record)), source=record)


@blueprint.post("/sources/<source_id>/change")
def _post_source_change(source_id: str) -> AnyResponse:
    """Change a source to the values of the form."""
    record = operations.get_source(context.request_caller(), source_id)
    form = Form(_sent_source_values(request.form), names=_NAMES)
    body = form.load(SourceChange(), _source_body(request.form))
    if body is not None:
        try:
            operations.change_source(context.request_caller(), source_id, **body)
        except OperationError as error:
            form.refuse(error)
        else:
            return redirect_to("ui.source_page", "saved", source_id=source_id)
    return make_response(render_template("source_form.html", form=form, source=record), 422)


@blueprint.post("/sources/<source_id>/pipeline-key")
def _post_new_key(source_id: str) -> AnyResponse:
    """Create a pipeline key. The previous ones stay valid for the overlap in the form."""
    form = Form({"overlap_hours": request.form.get("overlap_hours", "")})
    body = form.load(KeyRotation(), {"overlap_hours": parse_number(form.values["overlap_hours"])})
    if body is None:
        return make_response(_page(source_id, form=form), 422)
    operations.rotate_pipeline_key(context.request_caller(), source_id, **body)
    return redirect_to("ui.source_page", "rotated", source_id=source_id)


@blueprint.post("/sources/<source_id>/server-secret")
def _post_new_secret(source_id: str) -> str:
    """Create a server secret; it is shown on this page only."""
    renewed = operations.rotate_server_secret(context.request_caller(), source_id)
    return _page(source_id, secrets=renewed)


@blueprint.post("/sources/<source_id>/delete")
def _post_source_delete(source_id: str) -> AnyResponse:
    """Delete a source that has no integrations."""
    operations.delete_source(context.request_caller(), source_id)
    return redirect_to("ui.sources_page", "source-deleted")


def _source_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a source's form."""
    cookies = record["cookies"]
    flags = {name: cookies[name] for name in _FLAGS[:3]} | {name: record[name] for name in _FLAGS[3:]}
    return {
        "name": record["name"],
        "domains": "\n".join(record["domains"]),
        "consent_browser": record["default_consent"]["browser"],
        "consent_server": record["default_consent"]["server"],
        "cookie_domain": cookies["domain"] or "",
        "default_country": record["default_country"] or "",
        "time_zone": record["time_zone"] or "",
        "backlog_limit": str(record["backlog_limit"] or ""),
        "public_backlog_limit": str(record["public_backlog_limit"] or ""),
        "public_visitors_per_day": str(record["public_visitors_per_day"] or ""),
        "signed_only_events": "\n".join(record["signed_only_events"]),
        "consent_groups": "\n".join(_group_lines(record["consent_groups"])),
        **{name: f"{record['alert_thresholds'][name]:g}" for name in ALERT_THRESHOLDS},
        "webhook_mapping": "\n".join(f"{key} = {path}" for key, path in record["webhook_mapping"].items()),
    } | {name: "yes" if flag else "" for name, flag in flags.items()}


def _sent_source_values(form: Any) -> dict[str, Any]:
    """Return the sent values, to show them again."""
    return form_texts(form, _TEXTS) | {name: form.get(name, "") for name in _FLAGS}


def _source_body(form: Any) -> dict[str, Any]:
    """Return the sent form as a body of the Management API."""
    texts = form_texts(form, _TEXTS)
    flags = {name: form.get(name) == "yes" for name in _FLAGS}
    own_flags = {name: flags.pop(name) for name in ("secure_cookies", "allow_null_origin", "query_views")}
    return {
        "name": texts["name"],
        "domains": _domains_in(texts["domains"]),
        "default_consent": {"browser": texts["consent_browser"], "server": texts["consent_server"]},
        "cookies": {"domain": texts["cookie_domain"] or None, **flags},
        **own_flags,
        "default_country": texts["default_country"] or None,
        "time_zone": texts["time_zone"] or None,
        "backlog_limit": parse_number(texts["backlog_limit"]),
        "public_backlog_limit": parse_number(texts["public_backlog_limit"]),
        "public_visitors_per_day": parse_number(texts["public_visitors_per_day"]),
        "signed_only_events": split_lines(texts["signed_only_events"]),
        "consent_groups": _groups_in(texts["consent_groups"]),
        "alert_thresholds": {name: parse_number(texts[name]) for name in ALERT_THRESHOLDS if texts[name]},
        "webhook_mapping": _mapping_in(texts["webhook_mapping"]),
        # An empty field keeps the secret.
        "webhook_secrets": {
            system: texts[name] for system in WEBHOOK_SYSTEMS if texts[name := f"{system}_secret"]
        },
    }


def _domains_in(text: str) -> list[str]:
    """Read domains from lines or a list with commas; of a pasted address the host counts, in its ASCII form."""
    domains = [part.strip() for line in split_lines(text) for part in line.split(",") if part.strip()]
    return [_ascii_host(_ADDRESS.sub(r"\1", domain)) for domain in domains]


def _ascii_host(host: str) -> str:
    """Return a host name as browsers send it; what cannot be converted stays, and the form refuses it."""
    if host.isascii() or _NOT_CONVERTED.intersection(host):
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _group_lines(groups: Mapping[str, list[str]]) -> list[str]:
    return [f"{category}: {', '.join(names)}" for category, names in groups.items() if names]


def _groups_in(text: str) -> dict[str, list[str]]:
    """Read lines such as ``advertising: C0004, C0005``; a category without a line has no groups."""
    groups: dict[str, list[str]] = {category: [] for category in _CATEGORIES}
    for line in split_lines(text):
        category, _, names = line.partition(":")
        groups[category.strip().lower()] = [name.strip() for name in names.split(",") if name.strip()]
    return groups


def _mapping_in(text: str) -> dict[str, str]:
    """Read lines such as ``properties.order_id = data.number``."""
    pairs = (line.partition("=") for line in split_lines(text))
    return {name.strip(): path.strip() for name, _, path in pairs}


def _quota_use(connection: Connection, source_id: str) -> dict[str, int]:
    """Return how many visitors public calls created today, and what the quotas refused in the last 30 days."""
    today = int(context.now() // tallies.SECONDS_A_DAY)
    count = tallies.usage_of_source(connection, source_id, today)[tallies.PUBLIC_VISITORS]
    lately = tallies.usage_of_source(connection, source_id, today - _DAYS_SHOWN + 1, tallies.REFUSED)
    return {"created": count} | {what: lately[what] for what in tallies.REFUSED}


def _page(
    source_id: str,
    *,
    secrets: operations.SourceRecord | None = None,
    is_new: bool = False,
    form: Form | None = None,
) -> str:
    record = operations.get_source(context.request_caller(), source_id)
    with context.app_ledger().read() as connection:
        targets = integration_store.integrations_of_source(connection, source_id)
        source = store.load_source(connection, source_id)
        usage = _quota_use(connection, source_id)
    settings = context.app_settings()
    collector = settings.collector_url.rstrip("/")
    # The sandbox brings a sample shop.
    entry = urlencode({"collector": collector, "key": record["pipeline_key"] or ""})
    shop = (
        f"{settings.pinterest_api_url}/shop?{entry}"
        if settings.pinterest_api_url != PINTEREST_API_URL
        else ""
    )
    return render_template(
        "source.html",
        seen=show_seen(context.request_caller(), source_id),
        shop_url=shop,
        used=usage,
        visitors_per_day=source.public_visitors_per_day if source else 0,
        debug_until=source.debug_until if source else 0.0,
        source=record,
        integrations=targets,
        collector_url=collector,
        secrets=secrets,
        is_new=is_new,
        form=form or Form({"overlap_hours": "24"}),
    )
