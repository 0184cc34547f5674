"""List, create, change and delete sources, rotate their keys, and switch debugging.

NotFoundError is raised for an object that does not exist.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from worker.event.times import iso
from worker.ledger.intake import debug_inputs
from worker.ledger.setup import sources as store
from worker.ledger.setup.sources import Source, write_key
from worker.operations.caller import MASK, Caller, changed_fields
from worker.operations.errors import ConflictError, DuplicateError, NotFoundError

SOURCE_ID = "src_[A-Za-z0-9_-]{1,64}"
is_source_id = re.compile(SOURCE_ID).fullmatch
_SECONDS_AN_HOUR = 3_600
# The defaults of a source's options. The collector and the ingest worker use the same.
_DEFAULT_OPTIONS: Mapping[str, Any] = {
    "default_consent": {"browser": "drop", "server": "allow"},
    "consent_groups": {"advertising": [], "marketing": [], "analytics": [], "functional": []},
    "cookies": {"domain": None, "dfid": True, "pin_unauth": True, "epik": True},
    "secure_cookies": True,
    "default_country": None,
    "time_zone": None,
    "backlog_limit": None,
    "public_backlog_limit": None,
    "public_visitors_per_day": None,
    "signed_only_events": [],
    "allow_null_origin": False,
    "query_views": False,
    "alert_thresholds": store.ALERT_THRESHOLDS,
    "webhook_mapping": {},
}
# Has the fields of a source, its options among them, and its valid pipeline keys, the newest first.
# ``server_secret`` and ``write_key`` are there only where they were just made.
SourceRecord = dict[str, Any]


def list_sources(caller: Caller, limit: int, after_id: str = "") -> list[SourceRecord]:
    """Return sources in the order of their ids."""
    with caller.ledger.read() as connection:
        return [
            _record(connection, source, caller.now)
            for source in store.sources_after(connection, limit, after_id)
        ]


def get_source(caller: Caller, source_id: str) -> SourceRecord:
    """Return one source."""
    with caller.ledger.read() as connection:
        return _record(connection, _find(connection, source_id), caller.now)


def create_source(
    caller: Caller,
    *,
    name: str,
    id: str | None = None,  # noqa: A002 - as the API calls it.
    domains: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    webhook_secrets: Mapping[str, str | None] | None = None,
    test: bool = False,
) -> SourceRecord:
    """Create a source with a pipeline key and a server secret.

    Raises:
        DuplicateError: the id is taken.
    """
    secret = _new_server_secret()
    with caller.changing() as change:
        new = Source(
            id=id or f"src_{secrets.token_hex(8)}",
            name=name,
            domains=tuple(dict.fromkeys(domains)),
            created_at=change.now,
            updated_at=change.now,
            options=_without_nulls(options or {}),
        )
        if store.load_source(change.connection, new.id):
            raise DuplicateError(f"There is a source {new.id} already.")
        store.insert_source(change.connection, change.vault, new, _new_key(test=test), secret)
        secrets_given = webhook_secrets or {}
        systems = store.change_webhook_secrets(change.connection, change.vault, new.id, secrets_given)
        new = replace(new, webhook_systems=systems)
        record = _record(change.connection, new, change.now) | {"server_secret": secret}
        change.record("source.create", new.id, changed_fields({}, record))
    return record | {"write_key": write_key(new.id, secret)}


def change_source(
    caller: Caller,
    source_id: str,
    *,
    name: str | None = None,
    domains: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    webhook_secrets: Mapping[str, str | None] | None = None,
) -> SourceRecord:
    """Change the values given; None leaves one as it is, None inside ``options`` resets it, objects are merged.

    ``webhook_secrets`` has new secrets by system: an empty one removes it, the mask that is shown instead of it keeps
    it. A new ``webhook_mapping`` replaces the former one.
    """
    with caller.changing() as change:
        source = _find(change.connection, source_id, locked=True)
        before = _record(change.connection, source, change.now)
        target = replace(
            source,
            name=source.name if name is None else name,
            domains=source.domains if domains is None else tuple(dict.fromkeys(domains)),
            options=_without_nulls(_merge_options(source.options, options or {})),
            updated_at=change.now,
        )
        if "webhook_mapping" in (options or {}):
            target.options["webhook_mapping"] = (options or {})["webhook_mapping"] or {}
        secrets_given = {
            system: secret
            for system, secret in (webhook_secrets or {}).items()
            if secret != MASK and (secret or system in source.webhook_systems)
        }
        secret_changes = {
            f"webhook_secrets.{system}": [before["webhook_secrets"][system], MASK if secret else None]
            for system, secret in secrets_given.items()
        }
        if secrets_given:
            systems = store.change_webhook_secrets(change.connection, change.vault, source_id, secrets_given)
            target = replace(target, webhook_systems=systems)
        after = _record(change.connection, target, change.now)
        # Of the secrets, only the masks are there to be compared.
        changes = changed_fields(before | {"webhook_secrets": None}, after | {"webhook_secrets": None})
        changes |= secret_changes
        if not changes:
            return before
        store.update_source(change.connection, target, change.now)
        change.record("source.change", source_id, changes)
    return after


def delete_source(caller: Caller, source_id: str) -> None:
    """Delete a source that has no integrations; its keys become invalid at once.

    Raises:
        ConflictError: it has integrations.
    """
    with caller.changing() as change:
        source = _find(change.connection, source_id, locked=True)
        before = _record(change.connection, source, change.now)
        if not store.remove_source(change.connection, source_id):
            raise ConflictError(f"{source_id} still has integrations: delete those first.")
        change.record("source.delete", source_id, changed_fields(before, {}))


def rotate_pipeline_key(
    caller: Caller, source_id: str, *, overlap_hours: float, test: bool = False
) -> SourceRecord:
    """Make a new pipeline key; the former ones stay valid for ``overlap_hours``."""
    with caller.changing() as change:
        source = _find(change.connection, source_id, locked=True)
        old = store.valid_pipeline_keys(change.connection, source_id, change.now)
        key, ends_at = _new_key(test=test), change.now + overlap_hours * _SECONDS_AN_HOUR
        store.add_key(change.connection, source_id, key, change.now)
        store.expire_keys(change.connection, source_id, key, ends_at)
        changes = {"pipeline_key": [old[0] if old else None, key], "old_keys_end_at": [None, iso(ends_at)]}
        change.record("source.rotate_key", source_id, changes)
        return _record(change.connection, source, change.now)


def rotate_server_secret(caller: Caller, source_id: str) -> SourceRecord:
    """Create a server secret; the former one becomes invalid at once."""
    secret = _new_server_secret()
    with caller.changing() as change:
        source = _find(change.connection, source_id, locked=True)
        store.set_server_secret(change.connection, change.vault, source_id, secret, change.now)
        change.record("source.rotate_secret", source_id, {"server_secret": [MASK, MASK]})
        changed = replace(source, updated_at=change.now)
        record = _record(change.connection, changed, change.now)
    return record | {"server_secret": secret, "write_key": write_key(source_id, secret)}


def switch_debugging(caller: Caller, source_id: str, *, on: bool) -> None:
    """Keep what a source sends for the live debugger for an hour, or end that and forget what was kept."""
    until = caller.now + debug_inputs.DEBUG_SECONDS if on else 0.0
    with caller.changing() as change:
        source = _find(change.connection, source_id, locked=True)
        debug_inputs.set_debugging(change.connection, source_id, until)
        if source.debug_until != until:
            changes = [iso(moment) if moment else None for moment in (source.debug_until, until)]
            change.record("source.debug", source_id, {"debug_until": changes})


def _find(connection: Connection, source_id: str, *, locked: bool = False) -> Source:
    is_id = is_source_id(source_id) is not None
    source = store.load_source(connection, source_id, locked=locked) if is_id else None
    if source is None:
        raise NotFoundError("source", source_id)
    return source


def _record(connection: Connection, source: Source, now: float) -> SourceRecord:
    keys = store.valid_pipeline_keys(connection, source.id, now)
    return {
        "id": source.id,
        "name": source.name,
        "domain": next(iter(source.domains), None),
        "domains": list(source.domains),
        "pipeline_key": next(iter(keys), None),
        "pipeline_keys": keys,
        "webhook_secrets": {
            system: MASK if system in source.webhook_systems else None for system in store.WEBHOOK_SYSTEMS
        },
        **_merge_options(deepcopy(_DEFAULT_OPTIONS), source.options),
        "created_at": source.created_at,
        "updated_at": source.updated_at,
    }


def _without_nulls(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without nulls; readers of the options know the defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _merge_options(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: {**old[key], **new[key]} for key in new if isinstance(old.get(key), dict)}
    return {**old, **new, **inner}


def _new_key(*, test: bool) -> str:
    return f"dk_{'test' if test else 'live'}_{secrets.token_hex(16)}"


def _new_server_secret() -> str:
    return f"srv_{secrets.token_hex(32)}"
