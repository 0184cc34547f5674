"""Run the whole product for a row: every process of the Procfile, on a broker and a database of its own."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration import stack as stacks
from tests.integration.shop import Shop
from tests.integration.stack import Plan, Stack

# What an installation has where its settings say nothing; the tests' own stack is quicker to batch and to retry.
# But for the limit on public events: a few senders here represent all visitors of many shops.
AS_SHIPPED = {"BATCH_INTERVAL": "1", "RETRY_BACKOFF_BASE": "4", "PUBLIC_EVENTS_PER_SECOND": "1000000"}


@contextmanager
def running(
    broker: str,
    database: str,
    *,
    ingest_workers: int = 1,
    delivery_workers: int = 1,
    without: tuple[str, ...] = (),
    **environment: str,
) -> Iterator[Stack]:
    """Run a stack for the time of a `with`, with other settings than the shipped ones by name.

    ``stack.running`` has the processes by name, ``stack.sandbox`` counts what arrives. What is missing on this
    machine raises `pytest.skip.Exception`, which ends the row with a sentence.
    """
    plan = Plan(broker, database, ingest_workers, AS_SHIPPED | environment, delivery_workers)
    # A short path: a Unix socket's holds at most 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        stacks.running(plan, Path(folder), without=without) as stack,
    ):
        yield stack


def shop(stack: Stack, *, rps: float = 100.0, burst: int = 200) -> Shop:
    """Add a source with one integration, whose ad account may be sent to at this rate."""
    return Shop(stack, rate_limit_rps=rps, rate_limit_burst=burst)
