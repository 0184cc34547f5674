"""Remove ways in and out that nobody can use any more: sessions, keys and access tokens."""

from typing import Any

from sqlalchemy import Connection, delete, select

from worker.ledger.schema import batch, credential, integration, pipeline_key, ui_session


def purge_sessions(connection: Connection, now: float) -> int:
    """Remove sessions that are over."""
    return connection.execute(delete(ui_session).where(ui_session.c.expires_at <= now)).rowcount


def purge_keys(connection: Connection, expired_before: float) -> int:
    """Remove pipeline keys that have not been good since a time."""
    old = pipeline_key.c.expires_at < expired_before
    return connection.execute(delete(pipeline_key).where(old)).rowcount


def purge_credentials(connection: Connection, made_before: float) -> int:
    """Remove access tokens that no integration sends with any more, and no batch was sent with.

    Locked first and looked at again: somebody may be giving the same token to an integration at this moment.
    """
    unused = _unused(made_before)
    held = list(connection.scalars(select(credential.c.id).where(*unused).with_for_update()))
    if not held:
        return 0
    return connection.execute(delete(credential).where(credential.c.id.in_(held), *unused)).rowcount


def _unused(made_before: float) -> tuple[Any, ...]:
    sends = select(integration.c.id).where(integration.c.credential_id == credential.c.id).exists()
    sent = select(batch.c.id).where(batch.c.credential_id == credential.c.id).exists()
    return (credential.c.created_at < made_before, ~sends, ~sent)
