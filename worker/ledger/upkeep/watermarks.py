"""Store how far recurring work got, and when."""

from sqlalchemy import Connection, select

from worker.ledger.rows import upsert
from worker.ledger.schema import watermark


def read_watermark(connection: Connection, name: str) -> tuple[int, float]:
    """Return how far something got, and when; zeros if it never ran."""
    query = select(watermark.c.position, watermark.c.at).where(watermark.c.name == name)
    row = connection.execute(query).one_or_none()
    return (row.position, row.at) if row else (0, 0.0)


def set_watermark(connection: Connection, name: str, position: int, at: float) -> None:
    """Store how far something got, and when."""
    values = {"position": position, "at": at}
    statement = upsert(connection, watermark).values(name=name, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))
