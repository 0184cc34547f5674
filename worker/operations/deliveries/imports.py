"""Import events from files."""

from collections.abc import Callable, Iterator
from typing import IO

from worker.files.importing import ImportCounts, Importer, ImportOptions
from worker.files.lines import ReadOptions, read_lines
from worker.ledger.setup import sources
from worker.ledger.setup.sources import Source
from worker.operations.caller import Caller
from worker.operations.errors import OperationError
from worker.pipeline.ingest.accepting import PublishIds

_MOST_NAMED = 20


def choose_source(caller: Caller, source_id: str | None) -> Source:
    """Return the source that imported events belong to; without an id it is the only one.

    Raises:
        OperationError: there is no such source, or there are several; the message names some of them.
    """
    with caller.ledger.read() as connection:
        source = sources.load_source(connection, source_id) if source_id else None
        candidates = sources.sources_after(connection, _MOST_NAMED + 1)
    if source is None and source_id is None and len(candidates) == 1:
        return candidates[0]
    if source is None:
        if not candidates:
            raise OperationError("There are no sources. Add one first.")
        names = ", ".join(source.id for source in candidates[:_MOST_NAMED])
        more = " and more" if len(candidates) > _MOST_NAMED else ""
        problem = f"There is no source {source_id}." if source_id else "Choose a source with --source."
        raise OperationError(f"{problem} Sources: {names}{more}.")
    return source


def import_events(
    caller: Caller,
    source: Source,
    file: IO[bytes],
    reading: ReadOptions,
    options: ImportOptions,
    *,
    offer: PublishIds,
    wait_for_room: Callable[[], object],
    progress: Callable[[int], object],
    dry_run: bool = False,
) -> Iterator[ImportCounts]:
    """Accept the events of a file, and yield counts after each step. Safe to repeat: each line is accepted once.

    ``offer`` announces accepted events, ``wait_for_room`` blocks while too many wait, ``progress`` gets the bytes read.

    Raises:
        FileError: the file cannot be read.
    """
    taker = Importer(caller.ledger, source, options, offer, wait_for_room, dry_run)
    yield from taker.take(read_lines(file, reading, progress))
