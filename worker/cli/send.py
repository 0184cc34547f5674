"""Send events out of files."""

import codecs
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import IO, Any, TypeVar, cast
from zoneinfo import ZoneInfo

import click
from tqdm import tqdm

from worker import runtime
from worker.cli.common import cli_caller
from worker.collector.error_responses import RefusedError
from worker.collector.limits import AdmissionControl, state_folder
from worker.files.columns import TimeFormat, TimeFormatError
from worker.files.importing import ImportCounts, ImportOptions
from worker.files.lines import FileError, Format, Line, ReadOptions
from worker.formats import count_text
from worker.ledger.setup.sources import Source
from worker.monitoring.meter import Meter, MeterWriter
from worker.operations.deliveries.imports import choose_source, import_events
from worker.pipeline.ingest.accepting import PublishIds
from worker.settings import settings

Command = TypeVar("Command", bound=Callable[..., Any])

_MOST_ERRORS_SHOWN = 100
_STDIN = "<stdin>"
_ACTION_SOURCES = ("offline", "web", "app_android", "app_ios")


def _renamed(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(pair.rpartition("=")[::2] for pair in values)
    if "" in pairs or "" in pairs.values():
        raise click.BadParameter("must be like 'Customer e-mail=email'.")
    return pairs


def _encoding(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    try:
        # Some of Python's codecs turn bytes into bytes, and are no encoding of a text.
        "".encode(name or "utf-8")
        codecs.lookup(name or "utf-8")
    except (LookupError, ValueError):
        raise click.BadParameter(
            f"there is no encoding {name!r}; usual ones are utf-8, cp1252 and utf-16."
        ) from None
    return name


def _zone(_context: click.Context, _option: click.Parameter, name: str | None) -> ZoneInfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise click.BadParameter(f"there is no time zone {name!r}; use a name like Europe/Berlin.") from None


def reading_options(command: Command) -> Command:
    """Add the options that say how a file is read; the command gets a `ReadOptions` as ``reading``."""

    @wraps(command)
    def read(
        *arguments: Any,
        form: Format,
        renamed: dict[str, str],
        encoding: str | None,
        date_format: str | None,
        zone: ZoneInfo | None,
        **options: Any,
    ) -> Any:
        try:
            reading = ReadOptions(form, encoding, renamed, TimeFormat(date_format, zone))
        except TimeFormatError as error:
            raise click.BadParameter(str(error), param_hint="'--date-format'") from None
        return command(*arguments, reading=reading, **options)

    for option in reversed(_READING):
        read = option(read)
    return cast("Command", read)


_READING = (
    click.option(
        "--format", "form", type=click.Choice(["auto", "jsonl", "csv"]), default="auto", show_default=True
    ),
    click.option(
        "--column",
        "renamed",
        multiple=True,
        callback=_renamed,
        help="The meaning of a CSV column, like 'Customer e-mail=email'. May be given several times.",
    ),
    click.option(
        "--encoding",
        callback=_encoding,
        help="The file's encoding, like cp1252.  [default: UTF-8, or UTF-16 if it begins with a byte order mark]",
    ),
    click.option(
        "--date-format",
        help="The format of times in a CSV file, like '%d.%m.%Y %H:%M', or excel for Excel's number of days.  "
        "[default: ISO 8601]",
    ),
    click.option(
        "--timezone",
        "zone",
        callback=_zone,
        help="Time zone of times without an offset in a CSV file, like Europe/Berlin.  [default: UTC]",
    ),
)


@click.command("send")
@click.argument("files", nargs=-1, required=True, type=click.File("rb"), metavar="FILE...")
@click.option("--source", "source_id", help="The source of the events. Not needed if there is only one.")
@click.option("--event", help="The event name for lines without one, like 'Order Completed'.")
@click.option("--action-source", type=click.Choice(_ACTION_SOURCES), default="offline", show_default=True)
@reading_options
@click.option("--dry-run", is_flag=True, help="Check every line, import none.")
def send_command(
    files: tuple[IO[bytes], ...],
    source_id: str | None,
    event: str | None,
    action_source: str,
    dry_run: bool,
    reading: ReadOptions,
) -> None:
    """Send the events of each FILE (- for standard input), as offline events unless they say otherwise.

    JSON lines: one event a line, as the collector takes it. CSV: the header says what a column is. event, timestamp,
    userId and anonymousId are fields of the event; email, phone, first name and other personal fields are
    traits; properties.X, context.X, traits.X and consent.X name their place; every other column is a property. A
    cell may hold a list in JSON (products). Case, spaces and underscores in names make no difference.

    Every track or page line must say when it happened (timestamp). Wrong lines are reported;
    the others are imported. You may run the command again, also with a longer file: each line is imported once.
    """
    caller, options, total = cli_caller(), ImportOptions(event, action_source), ImportCounts()
    source = choose_source(caller, source_id)
    admission = AdmissionControl(caller.ledger, state_folder(caller.ledger, settings()), time.time)
    with offering(dry_run) as offer:
        take = partial(
            import_events,
            caller,
            source,
            reading=reading,
            options=options,
            offer=offer,
            wait_for_room=partial(_await_admission, admission, source),
            dry_run=dry_run,
        )
        for file in files:
            _send_file(file, take, total)
    _sum_up(total, dry_run)


def _send_file(file: IO[bytes], take: Callable[..., Iterator[ImportCounts]], total: ImportCounts) -> None:
    name = getattr(file, "name", _STDIN)
    name = "standard input" if name == _STDIN else str(name)
    with tqdm(total=_size(file), unit="B", unit_scale=True, desc=name, disable=None) as bar:
        try:
            for part in take(file=file, progress=bar.update):
                _show_errors(name, part.errors, total.wrong, bar)
                total.taken += part.taken
                total.known += part.known
                total.wrong += part.wrong
                bar.set_postfix(taken=total.taken, refresh=False)
        except FileError as error:
            raise click.ClickException(f"{name}: {error}") from None


def _show_errors(name: str, errors: list[Line], before: int, bar: "tqdm[Any]") -> None:
    for line in errors[: max(0, _MOST_ERRORS_SHOWN - before)]:
        bar.write(f"{name}, line {line.number}: {line.error}", file=sys.stderr)


def _sum_up(total: ImportCounts, dry_run: bool) -> None:
    click.echo(f"{'Would import' if dry_run else 'Imported'} {count_text(total.taken, 'event')}.")
    if not (total.taken or total.known or total.wrong):
        click.echo("There is no line with an event. In a CSV file, the lines with events follow the header.")
    if total.known:
        known = count_text(total.known, "line was", "lines were")
        click.echo(f"{known} skipped: imported before, or equal to another line.")
    if total.wrong:
        unseen = max(0, total.wrong - _MOST_ERRORS_SHOWN)
        wrong = count_text(total.wrong, "line is", "lines are")
        click.echo(f"{wrong} wrong{f', {unseen:,} of them not shown' if unseen else ''}.")
        sys.exit(1)


@contextmanager
def offering(dry_run: bool) -> Iterator[PublishIds]:
    """Provide the publisher of hints. Without a broker the sweeper finds the events later."""
    if dry_run:
        yield len
        return
    from worker.app import app

    meter = Meter()
    writer, publisher = MeterWriter(meter, runtime.ledger), runtime.hint_publisher(app, meter)
    writer.start()
    try:
        yield publisher.offer
    finally:
        publisher.close()
        writer.close()


def _await_admission(admission: AdmissionControl, source: Source) -> None:
    is_reported = False
    while True:
        try:
            return admission.check(source)
        except RefusedError as error:
            if not is_reported:
                tqdm.write(f"Waiting: {error.message}", file=sys.stderr)
            is_reported = True
            time.sleep(min(error.retry_after_seconds or 5, 5))


def _size(file: IO[bytes]) -> int | None:
    try:
        return os.fstat(file.fileno()).st_size or None
    except (OSError, ValueError):
        return None
