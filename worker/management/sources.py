"""Make, show, change and delete sources, and rotate their keys."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from worker.ledger import audit
from worker.ledger import sources as store
from worker.ledger.sources import Source
from worker.management import changes, context, lists
from worker.management.blueprint import Blueprint
from worker.management.context import Change
from worker.management.errors import ApiError, duplicate, not_found
from worker.management.fields import iso
from worker.management.lists import PageQuery, page_of
from worker.management.source_shapes import (
    FIXED,
    SOURCE_ID,
    KeyRotation,
    SourceAnswer,
    SourceBody,
    SourceChange,
    SourceOptions,
)

SECONDS_AN_HOUR = 3_600

blueprint = Blueprint(
    "sources", __name__, url_prefix="/v1/admin", description="The sites and servers that send events"
)


@blueprint.route("/sources", methods=["POST"])
@blueprint.arguments(SourceBody)
@blueprint.response(201, SourceAnswer)
def create(body: dict[str, Any]) -> dict[str, Any]:
    """Make a source; its server secret is shown now and never again."""
    return add(body)


def add(body: Mapping[str, Any]) -> dict[str, Any]:
    """Make a source of what `SourceBody` has read."""
    secret = _new_server_secret()
    with context.changing() as change:
        new = Source(
            id=body.get("id") or f"src_{secrets.token_hex(8)}",
            name=body["name"],
            domains=_domains(body) or (),
            created_at=change.now,
            updated_at=change.now,
            options=_without_nulls(_options(body)),
        )
        if store.find(change.connection, new.id):
            raise duplicate(f"There is a source {new.id} already.")
        store.create(change.connection, context.ledger().vault, new, _new_key(test=body["test"]), secret)
        shown = _show(change.connection, new, change.now) | {"server_secret": secret}
        _tell(change, "create", new.id, {}, shown)
    return shown


@blueprint.route("/sources")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(SourceAnswer))
def page(query: dict[str, Any]) -> dict[str, Any]:
    """List sources in the order of their ids."""
    return listed(query)


def listed(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page of the list that `PageQuery` chooses."""
    after = lists.text_after(query.get("cursor"))
    now = context.clock()
    with context.ledger().read() as connection:
        found = store.page(connection, query["limit"] + 1, after)
        return lists.answer(
            found, query["limit"], lambda one: _show(connection, one, now), lambda one: str(one.id)
        )


@blueprint.route("/sources/<source_id>")
@blueprint.response(200, SourceAnswer)
def show(source_id: str) -> dict[str, Any]:
    """Show a source."""
    return shown(source_id)


def shown(source_id: str) -> dict[str, Any]:
    """Return a source."""
    with context.ledger().read() as connection:
        return _show(connection, _found(connection, source_id), context.clock())


@blueprint.route("/sources/<source_id>", methods=["PATCH"])
@blueprint.arguments(SourceChange)
@blueprint.response(200, SourceAnswer)
def change(body: dict[str, Any], source_id: str) -> dict[str, Any]:
    """Change what is given of a source; objects are merged."""
    return alter(body, source_id)


def alter(body: Mapping[str, Any], source_id: str) -> dict[str, Any]:
    """Change what `SourceChange` has read."""
    with context.changing() as change:
        source = _found(change.connection, source_id, locked=True)
        before = _show(change.connection, source, change.now)
        changes.keep(body, SourceAnswer().dump(before), FIXED)
        domains = _domains(body)
        wanted = replace(
            source,
            name=body.get("name", source.name),
            domains=source.domains if domains is None else domains,
            options=_without_nulls(_merged(source.options, _options(body))),
            updated_at=change.now,
        )
        after = _show(change.connection, wanted, change.now)
        if not changes.between(before, after):
            return before
        store.change(change.connection, wanted, change.now)
        _tell(change, "change", source_id, before, after)
    return after


@blueprint.route("/sources/<source_id>", methods=["DELETE"])
@blueprint.response(204)
def delete(source_id: str) -> None:
    """Delete a source that has no integrations; its keys stop being good at once."""
    remove(source_id)


def remove(source_id: str) -> None:
    """Delete a source."""
    with context.changing() as change:
        source = _found(change.connection, source_id, locked=True)
        before = _show(change.connection, source, change.now)
        if not store.remove(change.connection, source_id):
            raise ApiError(409, f"{source_id} still has integrations: delete those first.")
        _tell(change, "delete", source_id, before, {})


@blueprint.route("/sources/<source_id>/pipeline-key", methods=["POST"])
@blueprint.arguments(KeyRotation)
@blueprint.response(200, SourceAnswer)
def rotate_pipeline_key(body: dict[str, Any], source_id: str) -> dict[str, Any]:
    """Make a new pipeline key; the ones of before stay good for the overlap."""
    return add_pipeline_key(body, source_id)


def add_pipeline_key(body: Mapping[str, Any], source_id: str) -> dict[str, Any]:
    """Make a new pipeline key as `KeyRotation` says."""
    with context.changing() as change:
        source = _found(change.connection, source_id, locked=True)
        old = store.keys(change.connection, source_id, change.now)
        key, ends_at = _new_key(test=body["test"]), change.now + body["overlap_hours"] * SECONDS_AN_HOUR
        store.add_key(change.connection, source_id, key, change.now)
        store.expire_keys(change.connection, source_id, key, ends_at)
        told = {"pipeline_key": [old[0] if old else None, key], "old_keys_end_at": [None, iso(ends_at)]}
        audit.write(change.connection, change.now, change.actor, "source.rotate_key", source_id, told)
        return _show(change.connection, source, change.now)


@blueprint.route("/sources/<source_id>/server-secret", methods=["POST"])
@blueprint.response(200, SourceAnswer)
def rotate_server_secret(source_id: str) -> dict[str, Any]:
    """Make a new server secret; the one of before stops being good at once."""
    return replace_server_secret(source_id)


def replace_server_secret(source_id: str) -> dict[str, Any]:
    """Make a new server secret."""
    secret = _new_server_secret()
    with context.changing() as change:
        source = _found(change.connection, source_id, locked=True)
        store.set_server_secret(change.connection, context.ledger().vault, source_id, secret, change.now)
        told = {"server_secret": [changes.MASK, changes.MASK]}
        audit.write(change.connection, change.now, change.actor, "source.rotate_secret", source_id, told)
        changed = replace(source, updated_at=change.now)
        return _show(change.connection, changed, change.now) | {"server_secret": secret}


def _found(connection: Connection, source_id: str, *, locked: bool = False) -> Source:
    is_id = re.fullmatch(SOURCE_ID, source_id) is not None
    source = store.find(connection, source_id, locked=locked) if is_id else None
    if source is None:
        raise not_found("source", source_id)
    return source


def _show(connection: Connection, source: Source, now: float) -> dict[str, Any]:
    keys = store.keys(connection, source.id, now)
    return {
        "id": source.id,
        "name": source.name,
        "domain": next(iter(source.domains), None),
        "domains": list(source.domains),
        "pipeline_key": next(iter(keys), None),
        "pipeline_keys": keys,
        **_merged(SourceOptions().load({}), source.options),
        "created_at": source.created_at,
        "updated_at": source.updated_at,
    }


def _domains(body: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the domains that a request names; None where it names none."""
    if "domains" in body:
        return tuple(dict.fromkeys(body["domains"]))
    if "domain" in body:
        return (body["domain"],) if body["domain"] else ()
    return None


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in SourceOptions().fields if name in body}


def _without_nulls(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is to be as usual: those who read the options know what is."""
    return {name: value for name, value in options.items() if value is not None}


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: {**old[key], **new[key]} for key in new if isinstance(old.get(key), dict)}
    return {**old, **new, **inner}


def _new_key(*, test: bool) -> str:
    return f"dk_{'test' if test else 'live'}_{secrets.token_hex(16)}"


def _new_server_secret() -> str:
    return f"srv_{secrets.token_hex(32)}"


def _tell(
    change: Change, what: str, source_id: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    told = changes.between(before, after)
    audit.write(change.connection, change.now, change.actor, f"source.{what}", source_id, told)
