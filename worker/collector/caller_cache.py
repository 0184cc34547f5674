"""Know the sources and the keys without the database, for an outage."""

import os
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from worker import logs, retention
from worker.ledger.database import Ledger
from worker.ledger.setup import sources
from worker.ledger.setup.sources import Signer, Source

log = logs.of(__name__)

_FILE_NAME = "sources.sealed"
_SOURCES = b"remembered sources"
_WRITE_SECONDS = 60.0


class RememberedSources:
    """Keep the sources and the keys that seal events in a file of this host, for an outage of the ledger.

    The file is sealed as the database is: ENCRYPTION_KEY opens it. All processes of the host share it.
    """

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger, self._path = ledger, folder / _FILE_NAME
        self._lock = threading.Lock()
        self._read_of = 0.0
        self._signers: dict[str, Signer] = {}
        self._of_keys: dict[str, Signer] = {}

    def write(self) -> None:
        """Write the file again if it is older than a minute; errors of the ledger and of the disk are raised."""
        if 0 <= time.time() - self._written_at() < _WRITE_SECONDS:
            return
        vault = self._ledger.vault
        keys = vault.wrapped_keys()
        with self._ledger.read() as connection:
            signers = sources.load_signers(connection, vault)
        sealed = vault.seal(orjson.dumps([asdict(signer) for signer in signers]), _SOURCES)
        key_rows = [[purpose, day, number, wrapped.hex()] for purpose, day, number, wrapped in keys]
        new = self._path.with_suffix(f".{os.getpid()}")
        new.touch(mode=0o600)
        with new.open("wb") as file:
            file.write(orjson.dumps({"keys": key_rows, "sources": sealed.hex()}))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    def read_keys(self) -> bool:
        """Let the ledger seal and hash with the keys of the file; return whether there is one that is not too old.

        Raises:
            SealError: ENCRYPTION_KEY does not open the file.
        """
        return self._read() is not None

    def of_key(self, key: str) -> Source | None:
        """Return the source of a pipeline key that has not expired."""
        self._refresh()
        signer = self._of_keys.get(key)
        expires_at = signer.keys[key] if signer else None
        return signer.source if signer and (expires_at is None or expires_at > time.time()) else None

    def signer(self, source_id: str) -> Signer | None:
        """Return a source with its secrets."""
        self._refresh()
        return self._signers.get(source_id)

    def domains(self) -> frozenset[str] | None:
        """Return the domains of all sources; None without a file."""
        self._refresh()
        origins = (domain for signer in self._signers.values() for domain in signer.source.page_origins)
        return frozenset(origins) if self._signers else None

    def _written_at(self) -> float:
        try:
            return self._path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _read(self) -> dict[str, Any] | None:
        if time.time() - self._written_at() > retention.SOURCES_FILE_SECONDS:
            return None
        try:
            record: dict[str, Any] = orjson.loads(self._path.read_bytes())
            keys = [
                (purpose, day, number, bytes.fromhex(key)) for purpose, day, number, key in record["keys"]
            ]
        except (ValueError, KeyError) as error:
            log.error("sources_unreadable", error=type(error).__name__)
            return None
        # Another process may have sealed it with a key that this one has not read yet.
        self._ledger.vault.use_keys(keys)
        return record

    def _refresh(self) -> None:
        with self._lock:
            if (written_at := self._written_at()) == self._read_of:
                return
            record = self._read()
            rows = orjson.loads(self._open(record["sources"])) if record else []
            signers = [Signer(_source(row.pop("source")), **row) for row in rows]
            self._signers = {signer.source.id: signer for signer in signers}
            self._of_keys = {key: signer for signer in signers for key in signer.keys}
            self._read_of = written_at

    def _open(self, sealed: str) -> bytes:
        return self._ledger.vault.open(bytes.fromhex(sealed), _SOURCES)


def _source(fields: dict[str, Any]) -> Source:
    return Source(**fields | {name: tuple(fields[name]) for name in ("domains", "webhook_systems")})
