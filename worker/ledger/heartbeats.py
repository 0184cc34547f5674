"""Keep when each part of the system last showed that it is alive."""

from sqlalchemy import Connection, select

from worker.ledger.rows import upsert
from worker.ledger.schema import heartbeat

# The batcher and the sweeper run when beat ticks and an upkeep worker is there; the watch looks at alerts.
BATCHER, SWEEPER, WATCH = "batcher", "sweeper", "watch"


def note(connection: Connection, name: str, now: float) -> None:
    """Write down that a part is alive."""
    statement = upsert(connection, heartbeat).values(name=name, at=now)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"at": now}))


def last(connection: Connection) -> dict[str, float]:
    """Return when each part last showed that it is alive, in Unix seconds."""
    return {row.name: row.at for row in connection.execute(select(heartbeat))}
