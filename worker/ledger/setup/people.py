"""Store API tokens with their roles, and browser sessions."""

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from worker.ledger.schema import api_token, ui_session
from worker.ledger.vault import Vault

SESSION_SECONDS = 12 * 3_600


class Role(StrEnum):
    """Name a role. Viewers read, editors also change, owners also create and revoke tokens."""

    VIEWER = "viewer"
    EDITOR = "editor"
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Token:
    """Describe an API token. The token itself is not stored."""

    id: str
    name: str
    role: Role
    created_at: float
    created_by: str

    @property
    def actor(self) -> str:
        """Return the name for the audit log. The id distinguishes tokens that had the same name."""
        return f"{self.name} ({self.id})"


def token_hash(vault: Vault, text: str) -> bytes:
    """Return the hash that is stored instead of a token."""
    return vault.keyed_hash("api token", text)


def insert_token(
    connection: Connection, vault: Vault, name: str, role: Role, actor: str, now: float
) -> tuple[Token, str]:
    """Insert a token. Returns its description and the token itself, which cannot be shown again.

    Raises:
        sqlalchemy.exc.IntegrityError: the name is taken.
    """
    made = Token(f"tok_{secrets.token_hex(6)}", name, role, now, actor)
    text = f"sig_{secrets.token_urlsafe(32)}"
    values = {
        "id": made.id,
        "name": name,
        "role": role.value,
        "hash": token_hash(vault, text),
        "created_at": now,
        "created_by": actor,
    }
    connection.execute(insert(api_token).values(values))
    return made, text


def valid_tokens(connection: Connection) -> list[Token]:
    """Return the valid tokens, the oldest first."""
    wanted = select(api_token).order_by(api_token.c.created_at, api_token.c.id)
    return [_token(row) for row in connection.execute(wanted)]


def token_by_name(connection: Connection, name: str) -> Token | None:
    """Return the token with a name."""
    row = connection.execute(select(api_token).where(api_token.c.name == name)).one_or_none()
    return _token(row) if row else None


def token_by_hash(connection: Connection, hashed: bytes) -> Token | None:
    """Return the valid token with a hash."""
    row = connection.execute(select(api_token).where(api_token.c.hash == hashed)).one_or_none()
    return _token(row) if row else None


def remove_token(connection: Connection, token_id: str) -> Token | None:
    """Revoke a token and end its sessions. Returns its description."""
    gone = connection.execute(delete(api_token).where(api_token.c.id == token_id).returning(api_token))
    row = gone.one_or_none()
    if row is None:
        return None
    connection.execute(delete(ui_session).where(ui_session.c.token_hash == row.hash))
    return _token(row)


def open_session(connection: Connection, vault: Vault, hashed: bytes, now: float) -> str:
    """Start a session for the holder of a token. Returns the value of the browser's cookie."""
    connection.execute(delete(ui_session).where(ui_session.c.expires_at <= now))
    cookie = secrets.token_urlsafe(32)
    values = {
        "hash": _session_hash(vault, cookie),
        "token_hash": hashed,
        "created_at": now,
        "expires_at": now + SESSION_SECONDS,
    }
    connection.execute(insert(ui_session).values(values))
    return cookie


def token_of_session(connection: Connection, vault: Vault, cookie: str, now: float) -> bytes | None:
    """Return the hash of the token that opened a session, while the session is valid."""
    return connection.scalar(
        select(ui_session.c.token_hash).where(
            ui_session.c.hash == _session_hash(vault, cookie), ui_session.c.expires_at > now
        )
    )


def close_session(connection: Connection, vault: Vault, cookie: str) -> None:
    """End a session."""
    connection.execute(delete(ui_session).where(ui_session.c.hash == _session_hash(vault, cookie)))


def _session_hash(vault: Vault, cookie: str) -> bytes:
    return vault.keyed_hash("session", cookie)


def _token(row: Any) -> Token:
    return Token(row.id, row.name, Role(row.role), row.created_at, row.created_by)
