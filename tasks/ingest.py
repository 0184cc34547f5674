"""Map accepted events."""

from celery import shared_task

from worker.broker.bulk import BulkTask
from worker.ledger.intake import inbox
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.runtime import ledger


@shared_task(base=BulkTask)
def process_event(ids: list[int]) -> None:
    """Map accepted events, named by inbox ids. Messages name one id each and are gathered into one run.

    Safe to repeat.
    """
    ingest(ledger(), ids)


@shared_task
def process_range(first_id: int, last_id: int) -> None:
    """Map the events of a range of inbox ids that still wait; sent by the sweeper."""
    with ledger().read() as connection:
        ids = inbox.ids_between(connection, first_id, last_id)
    ingest(ledger(), ids)
