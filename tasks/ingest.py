"""Map accepted events."""

from celery import shared_task

from worker.broker.bulk import BulkTask
from worker.ledger.intake import inbox
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.runtime import ledger


@shared_task(base=BulkTask)
def process_event(ids: list[int]) -> None:
    """Map accepted events, named by inbox ids: one message for each, gathered into one run for many.

    A second message for an event changes nothing.
    """
    ingest(ledger(), ids)


@shared_task
def process_range(first_id: int, last_id: int) -> None:
    """Map what still waits of a range of inbox ids, which the sweeper found forgotten."""
    with ledger().read() as connection:
        ids = inbox.ids_between(connection, first_id, last_id)
    ingest(ledger(), ids)
