"""Create more integrations than fit on a page of the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from tests.ledger.shop import NOW, RATE
from worker.ledger.database import Ledger
from worker.ledger.setup import integrations, sources
from worker.ledger.setup.integrations import Integration
from worker.ledger.setup.sources import Source

# One page of the ledger and a tenth of the next.
MANY = 1_101


def many(ledger: Ledger, count: int = MANY, mark: str = "pina_", **config: Any) -> list[Integration]:
    """Add integrations with a source and ad account each. Tokens start with ``mark``; the last gets ``config``."""
    ledger.vault.prepare()
    with ledger.write() as connection:
        made = []
        for number in range(count):
            source_id = f"src_{number:05}"
            source = Source(source_id, f"Shop {number}", (f"shop{number}.example.com",), NOW, NOW)
            sources.insert_source(connection, ledger.vault, source, f"dk_live_{number}", "secret")
            new = Integration(
                id=f"int_{number:05}",
                source_id=source_id,
                vendor="pinterest",
                name=f"Pinterest {number}",
                enabled=True,
                ad_account_id=str(10_000 + number),
                config=config if number == count - 1 else {},
                consent_categories=(),
                created_at=NOW,
                updated_at=NOW,
            )
            made.append(
                integrations.insert_integration(connection, ledger.vault, new, f"{mark}{number}", RATE)
            )
    return made


@contextmanager
def statements(ledger: Ledger) -> Iterator[list[str]]:
    """Collect the statements that run meanwhile."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engines: set[Engine] = {ledger.write_engine, ledger._reader}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)
