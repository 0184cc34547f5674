"""Seal stored data: AES-GCM with daily data keys, which the key ring wraps."""

import os
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from hashlib import blake2b, sha256
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from worker.ledger.schema import data_key

_NONCE_BYTES = 12
_KEY_ID_BYTES = 4
# The largest integer of PostgreSQL, which refuses to search for a larger one.
_LARGEST_KEY_NUMBER = 2**31 - 1
# While the database is away, a seal must not wait for it.
_LOOK_AGAIN_SECONDS = 30.0
_MASTER_ID_BYTES = 4
SECONDS_A_DAY = 86_400
_KEY_MISSING_MESSAGE = (
    "ENCRYPTION_KEY lacks the key that this ledger was written with. Nothing is lost: give the former key "
    "again (while rotating, both of them: new,old)."
)


class SealError(Exception):
    """A text cannot be opened: the key ring lacks its key, or the text was changed."""


class MissingKeyError(SealError):
    """The key ring lacks a key. Nothing is wrong with the data: a process that has the key can open it."""


class _ConnectionProvider(Protocol):
    """Provide connections to the database of the wrapped keys, as a ledger does."""

    @property
    def is_writing(self) -> bool: ...
    def read(self) -> AbstractContextManager[Connection]: ...
    def write(self) -> AbstractContextManager[Connection]: ...


class Vault:
    """Seal and open texts, and create keyed hashes.

    A sealed text is the data key's number (4 bytes), a nonce (12 bytes) and the ciphertext with its tag. A wrapped
    data key starts with 4 bytes that identify its key on the ring, so that a rotation wraps a few rows again and
    touches no content.
    """

    def __init__(self, ledger: _ConnectionProvider, encryption_keys: tuple[str, ...]) -> None:
        self._ledger = ledger
        self._ring = {_master_id(bytes.fromhex(key)): AESGCM(bytes.fromhex(key)) for key in encryption_keys}
        self._first = _master_id(bytes.fromhex(encryption_keys[0]))
        self._ciphers: dict[int, AESGCM] = {}
        self._today: tuple[int, int] | None = None
        self._look_at = 0.0
        self._hash_key: bytes | None = None
        self._lock = threading.Lock()

    def seal(self, text: bytes, purpose: bytes) -> bytes:
        """Seal a text. It opens only with the same purpose."""
        number = self._number_of_today()
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = self._cipher(number).encrypt(nonce, text, purpose)
        return number.to_bytes(_KEY_ID_BYTES, "big") + nonce + ciphertext

    def open(self, sealed: bytes, purpose: bytes) -> bytes:
        """Open a sealed text.

        Raises:
            SealError: the key is not on the ring, or the text is not what was sealed.
        """
        number = int.from_bytes(sealed[:_KEY_ID_BYTES], "big")
        nonce = sealed[_KEY_ID_BYTES : _KEY_ID_BYTES + _NONCE_BYTES]
        if number > _LARGEST_KEY_NUMBER or len(nonce) < _NONCE_BYTES:
            raise SealError("a sealed text was changed")
        try:
            return self._cipher(number).decrypt(nonce, sealed[_KEY_ID_BYTES + _NONCE_BYTES :], purpose)
        except InvalidTag:
            raise SealError("a sealed text was changed, or belongs elsewhere") from None

    def keyed_hash(self, *parts: str) -> bytes:
        """Hash texts with a key that never leaves the ledger: 16 bytes, the same for the same parts."""
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        return blake2b(text, key=self._key_for_hashes(), digest_size=16).digest()

    def prepare(self) -> None:
        """Create today's keys if they are missing. Call it before a write that seals something.

        Creating a key is a write of its own. On SQLite it would wait for the write that it runs in.
        """
        self._number_of_today()
        self._key_for_hashes()

    def wrapped_keys(self) -> list[tuple[str, int, int, bytes]]:
        """Return the keys that seal and hash now, as they are in the database: purpose, day, number, wrapped key."""
        number = self._number_of_today()
        query = select(data_key.c.purpose, data_key.c.day, data_key.c.id, data_key.c.wrapped)
        with self._ledger.read() as connection:
            result = connection.execute(
                query.where((data_key.c.purpose == "hash") | (data_key.c.id == number))
            )
            return [tuple(row) for row in result]

    def use_keys(self, keys: Iterable[tuple[str, int, int, bytes]]) -> None:
        """Seal and hash with keys of `wrapped_keys`, without the database.

        Raises:
            SealError: the key ring lacks the key that they are wrapped with.
        """
        for purpose, day, number, wrapped in keys:
            key = self._unwrap(wrapped)
            if purpose == "hash":
                self._hash_key = key
            else:
                self._ciphers[number] = AESGCM(key)
                self._today = (day, number)

    def rewrap(self, connection: Connection) -> int:
        """Wrap every data key with the first key of the ring. Returns how many were wrapped again.

        Raises:
            SealError: the ring lacks a key that data in the ledger needs.
        """
        changed = 0
        for row in connection.execute(select(data_key)).all():
            if row.wrapped[:_MASTER_ID_BYTES] != self._first:
                wrapped = self._wrap(self._unwrap(row.wrapped), self._first)
                connection.execute(update(data_key).where(data_key.c.id == row.id).values(wrapped=wrapped))
                changed += 1
        return changed

    def check(self) -> None:
        """Open every data key.

        Raises:
            SealError: the ring lacks a key that data in the ledger needs.
        """
        with self._ledger.read() as connection:
            for wrapped in connection.scalars(select(data_key.c.wrapped)):
                self._unwrap(wrapped)

    def _number_of_today(self) -> int:
        day = int(time.time() // SECONDS_A_DAY)
        if self._today is None or self._today[0] != day:
            if self._today is not None and (self._ledger.is_writing or time.monotonic() < self._look_at):
                # Midnight passed since `prepare`. Yesterday's key is good enough for one transaction.
                return self._today[1]
            try:
                self._today = (day, self._find_or_make("data", day)[0])
            except SQLAlchemyError:
                # Yesterday's key is good enough while the database is away.
                if self._today is None:
                    raise
                self._look_at = time.monotonic() + _LOOK_AGAIN_SECONDS
        return self._today[1]

    def _key_for_hashes(self) -> bytes:
        if self._hash_key is None:
            self._hash_key = self._find_or_make("hash", 0)[1]
        return self._hash_key

    def _find_or_make(self, purpose: str, day: int) -> tuple[int, bytes]:
        key = self._find(purpose, day)
        if key is not None:
            return key
        with self._lock:
            key = self._find(purpose, day)
            if key is None:
                self._make(purpose, day)
                key = self._find(purpose, day)
            if key is None:
                raise SealError(f"no {purpose} key could be made")
            return key

    def _find(self, purpose: str, day: int) -> tuple[int, bytes] | None:
        query = select(data_key.c.id, data_key.c.wrapped).where(
            data_key.c.purpose == purpose, data_key.c.day == day
        )
        with self._ledger.read() as connection:
            row = connection.execute(query).one_or_none()
        return (row.id, self._unwrap(row.wrapped)) if row else None

    def _make(self, purpose: str, day: int) -> None:
        # A process with a wrong key must not write anything that others cannot open.
        self.check()
        values = {
            "purpose": purpose,
            "day": day,
            "wrapped": self._wrap(os.urandom(32), self._in_force()),
            "created_at": time.time(),
        }
        try:
            with self._ledger.write() as connection:
                connection.execute(insert(data_key).values(values))
        except IntegrityError:
            # Another process created today's key first; `_find` reads that one.
            return

    def _cipher(self, number: int) -> AESGCM:
        cipher = self._ciphers.get(number)
        if cipher is None:
            with self._ledger.read() as connection:
                wrapped = connection.scalar(select(data_key.c.wrapped).where(data_key.c.id == number))
            if wrapped is None:
                raise SealError(f"data key {number} is not in the ledger")
            cipher = self._ciphers[number] = AESGCM(self._unwrap(wrapped))
        return cipher

    def _in_force(self) -> bytes:
        """Return the id of the key that the last rotation used, or of the ring's first one in a new ledger.

        So a new first key on the ring wraps nothing yet. Processes without it still open everything, until a
        rotation confirms that all have it.
        """
        with self._ledger.read() as connection:
            wrapped = connection.scalar(select(data_key.c.wrapped).where(data_key.c.purpose == "hash"))
        return wrapped[:_MASTER_ID_BYTES] if wrapped else self._first

    def _wrap(self, key: bytes, master: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return master + nonce + self._ring[master].encrypt(nonce, key, b"data key")

    def _unwrap(self, wrapped: bytes) -> bytes:
        master = self._ring.get(wrapped[:_MASTER_ID_BYTES])
        if master is None:
            raise MissingKeyError(_KEY_MISSING_MESSAGE)
        nonce = wrapped[_MASTER_ID_BYTES : _MASTER_ID_BYTES + _NONCE_BYTES]
        try:
            return master.decrypt(nonce, wrapped[_MASTER_ID_BYTES + _NONCE_BYTES :], b"data key")
        except (InvalidTag, ValueError):
            raise SealError("a data key in the ledger was changed") from None


def _master_id(key: bytes) -> bytes:
    return sha256(b"master" + key).digest()[:_MASTER_ID_BYTES]
