"""Store API tokens and users with their roles, and browser sessions."""

import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from sqlalchemy import Connection, delete, insert, select, update

from worker.ledger.schema import api_token, ui_session, ui_user
from worker.ledger.vault import Vault
from worker.retention import SESSION_SECONDS

# OWASP's least costs of Argon2id: 19 MiB and two passes, about 50 ms of one core.
_PASSES, _MEMORY_KIB = 2, 19 * 1024


class Role(StrEnum):
    """Name a role. Viewers read, editors also change, owners also manage users and tokens."""

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


@dataclass(frozen=True, slots=True)
class User:
    """Describe a person who signs in with a name and a password; times are in Unix seconds."""

    id: str
    name: str
    role: Role
    enabled: bool
    created_at: float
    created_by: str
    last_used_at: float | None
    expires_at: float | None
    password_hash: str = field(repr=False)
    session_key: bytes = field(repr=False)

    @property
    def actor(self) -> str:
        """Return the name for the audit log. The id distinguishes users that had the same name."""
        return f"{self.name} ({self.id})"

    def may_sign_in(self, now: float) -> bool:
        """Return whether the user is enabled and has not expired."""
        return self.enabled and (self.expires_at is None or now < self.expires_at)


def hash_password(password: str) -> str:
    """Hash a password with Argon2id and a new salt. Takes about 50 ms and 19 MiB, without Python's lock."""
    salt = secrets.token_bytes(16)
    hasher = Argon2id(salt=salt, length=32, iterations=_PASSES, lanes=1, memory_cost=_MEMORY_KIB)
    return hasher.derive_phc_encoded(_password_bytes(password))


def is_password(password: str, password_hash: str) -> bool:
    """Return whether a password has a hash. Takes as long as hashing it."""
    try:
        Argon2id.verify_phc_encoded(_password_bytes(password), password_hash)
    except InvalidKey:
        return False
    return True


def _password_bytes(password: str) -> bytes:
    # Keyboards differ in how they compose letters.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def insert_user(
    connection: Connection,
    name: str,
    role: Role,
    password_hash: str,
    expires_at: float | None,
    actor: str,
    now: float,
) -> User:
    """Insert a user.

    Raises:
        sqlalchemy.exc.IntegrityError: the name is taken, in whatever case.
    """
    values = {
        "id": f"usr_{secrets.token_hex(6)}",
        "name": name,
        "name_key": _name_key(name),
        "role": role.value,
        "password_hash": password_hash,
        "session_key": secrets.token_bytes(16),
        "enabled": True,
        "created_at": now,
        "created_by": actor,
        "expires_at": expires_at,
    }
    return _user(connection.execute(insert(ui_user).values(values).returning(ui_user)).one())


def all_users(connection: Connection) -> list[User]:
    """Return all users, by name."""
    return [_user(row) for row in connection.execute(select(ui_user).order_by(ui_user.c.name_key))]


def find_user(
    connection: Connection, *, id_or_name: str | None = None, session_key: bytes | None = None
) -> User | None:
    """Return a user by id, by name in whatever case, or by what their sessions refer to."""
    if session_key is not None:
        condition = ui_user.c.session_key == session_key
    else:
        condition = (ui_user.c.id == id_or_name) | (ui_user.c.name_key == _name_key(id_or_name or ""))
    row = connection.execute(select(ui_user).where(condition).order_by(ui_user.c.id != id_or_name)).first()
    return _user(row) if row else None


def change_user(connection: Connection, user: User, values: Mapping[str, Any]) -> User:
    """Change columns of a user. A new password, or disabling, ends the user's sessions."""
    new = dict(values)
    if "password_hash" in new or not new.get("enabled", True):
        _end_sessions(connection, user.session_key)
        new["session_key"] = secrets.token_bytes(16)
    statement = update(ui_user).where(ui_user.c.id == user.id).values(new).returning(ui_user)
    return _user(connection.execute(statement).one())


def remove_user(connection: Connection, user: User) -> None:
    """Delete a user, and end the user's sessions."""
    connection.execute(delete(ui_user).where(ui_user.c.id == user.id))
    _end_sessions(connection, user.session_key)


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
    token = Token(f"tok_{secrets.token_hex(6)}", name, role, now, actor)
    text = f"sig_{secrets.token_urlsafe(32)}"
    values = {
        "id": token.id,
        "name": name,
        "role": role.value,
        "hash": token_hash(vault, text),
        "created_at": now,
        "created_by": actor,
    }
    connection.execute(insert(api_token).values(values))
    return token, text


def valid_tokens(connection: Connection) -> list[Token]:
    """Return the valid tokens, the oldest first."""
    query = select(api_token).order_by(api_token.c.created_at, api_token.c.id)
    return [_token(row) for row in connection.execute(query)]


def token_by_name(connection: Connection, name: str) -> Token | None:
    """Return the token with a name."""
    row = connection.execute(select(api_token).where(api_token.c.name == name)).one_or_none()
    return _token(row) if row else None


def token_by_hash(connection: Connection, digest: bytes) -> Token | None:
    """Return the valid token with a hash."""
    row = connection.execute(select(api_token).where(api_token.c.hash == digest)).one_or_none()
    return _token(row) if row else None


def remove_token(connection: Connection, token_id: str) -> Token | None:
    """Revoke a token and end its sessions. Returns its description."""
    result = connection.execute(delete(api_token).where(api_token.c.id == token_id).returning(api_token))
    row = result.one_or_none()
    if row is None:
        return None
    _end_sessions(connection, row.hash)
    return _token(row)


def open_session(connection: Connection, vault: Vault, digest: bytes, now: float) -> str:
    """Start a session for the holder of a token, or of a user's session key.

    Returns the value of the browser's cookie.
    """
    connection.execute(delete(ui_session).where(ui_session.c.expires_at <= now))
    connection.execute(update(ui_user).where(ui_user.c.session_key == digest).values(last_used_at=now))
    cookie = secrets.token_urlsafe(32)
    values = {
        "hash": _session_hash(vault, cookie),
        "token_hash": digest,
        "created_at": now,
        "expires_at": now + SESSION_SECONDS,
    }
    connection.execute(insert(ui_session).values(values))
    return cookie


def token_of_session(connection: Connection, vault: Vault, cookie: str, now: float) -> bytes | None:
    """Return the hash of the token, or the session key, that opened a session, while the session is valid."""
    return connection.scalar(
        select(ui_session.c.token_hash).where(
            ui_session.c.hash == _session_hash(vault, cookie), ui_session.c.expires_at > now
        )
    )


def close_session(connection: Connection, vault: Vault, cookie: str) -> None:
    """End a session."""
    connection.execute(delete(ui_session).where(ui_session.c.hash == _session_hash(vault, cookie)))


def _end_sessions(connection: Connection, digest: bytes) -> None:
    connection.execute(delete(ui_session).where(ui_session.c.token_hash == digest))


def _session_hash(vault: Vault, cookie: str) -> bytes:
    return vault.keyed_hash("session", cookie)


def _token(row: Any) -> Token:
    return Token(row.id, row.name, Role(row.role), row.created_at, row.created_by)


def _name_key(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _user(row: Any) -> User:
    return User(
        row.id,
        row.name,
        Role(row.role),
        bool(row.enabled),
        row.created_at,
        row.created_by,
        row.last_used_at,
        row.expires_at,
        row.password_hash,
        row.session_key,
    )
