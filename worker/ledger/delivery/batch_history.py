"""Read a batch with all batches that it was split from or into."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from worker.ledger.rows import chunks
from worker.ledger.schema import IS_OPEN_UNINDEXED, BatchStatus, attempt, batch, delivery

# Ten halvings turn a thousand events into single ones; splits for other reasons add a few.
_DEEPEST = 40


@dataclass(frozen=True, slots=True)
class RelatedBatch:
    """Hold one batch that comes from the same first batch.

    ``depth`` is 0 for the first batch. ``tries`` has the reason class and the reason of each failed attempt, the
    oldest first.
    """

    id: int
    depth: int
    events: int
    is_live: bool
    has_delivered: bool
    tries: tuple[tuple[str, str], ...] = ()


def related_batches(connection: Connection, batch_id: int) -> list[RelatedBatch]:
    """Return all batches with the same first batch, that one first."""
    generations = _generations(connection, _first_of(connection, batch_id))
    batches = [row for rows in generations for row in rows]
    tries = _tries(connection, [row.id for row in batches])
    ids_with_deliveries = _with_deliveries(connection, [row.id for row in batches])
    return [
        RelatedBatch(
            id=row.id,
            depth=depth,
            events=row.events,
            is_live=row.status in (BatchStatus.READY, BatchStatus.SENDING),
            has_delivered=row.status == BatchStatus.SETTLED and row.id in ids_with_deliveries,
            tries=tuple(tries[row.id]),
        )
        for depth, rows in enumerate(generations)
        for row in rows
    ]


def _first_of(connection: Connection, batch_id: int) -> int:
    for _ in range(_DEEPEST):
        parent_id = connection.scalar(select(batch.c.parent_id).where(batch.c.id == batch_id))
        if parent_id is None:
            break
        batch_id = parent_id
    return batch_id


def _generations(connection: Connection, first_id: int) -> list[Sequence[Any]]:
    query = select(batch.c.id, batch.c.events, batch.c.status)
    generation = connection.execute(query.where(batch.c.id == first_id)).all()
    generations: list[Sequence[Any]] = []
    while generation and len(generations) < _DEEPEST:
        generations.append(generation)
        parents = [row.id for row in generation]
        children = query.where(batch.c.parent_id.in_(parents), batch.c.parent_id.is_not(None))
        generation = connection.execute(children.order_by(batch.c.id)).all()
    return generations


def _tries(connection: Connection, ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    tries: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for chunk in chunks(ids):
        query = select(attempt.c.batch_id, attempt.c.reason_class, attempt.c.reason)
        for batch_id, reason_class, reason in connection.execute(
            query.where(attempt.c.batch_id.in_(chunk)).order_by(attempt.c.id)
        ):
            tries[batch_id].append((reason_class, reason))
    return tries


def _with_deliveries(connection: Connection, ids: Sequence[int]) -> set[int | None]:
    batch_ids: set[int | None] = set()
    for chunk in chunks(ids):
        query = select(delivery.c.batch_id).where(delivery.c.batch_id.in_(chunk), IS_OPEN_UNINDEXED)
        batch_ids.update(connection.scalars(query.distinct()))
    return batch_ids
