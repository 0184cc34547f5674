"""Structured logs: one event per line with its fields, as JSON or readable on a terminal.

``log = logs.of(__name__)`` and ``log.info("batch_settled", batch_id=7)``: event names are fixed, ids are fields,
and no value is personal data. ``docs/logs.md`` lists all events.
"""

import logging
import logging.config
import os
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import structlog
from structlog.typing import Processor

from worker.settings import SettingsError, log_format

Fields = MutableMapping[str, Any]

# Event names for messages of Celery, gunicorn and other libraries.
_LIBRARY_MESSAGE = "library_message"
_TASK_FAILED = "task_failed"

# After these words gunicorn and Flask quote the requested address or the client.
_QUOTING = ("Invalid request", "Error handling request", "Exception on")

structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)


def of(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def set_up() -> None:
    """Write the logs of this process and its libraries to standard error."""
    logging.config.dictConfig(config())
    logging.captureWarnings(True)


def config() -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`.

    Raises:
        SystemExit: LOG_FORMAT is wrong.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": _formatter, "kind": _kind(os.environ)}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "worker": {"level": "INFO"},
            "tasks": {"level": "INFO"},
            # Removes gunicorn's own handler.
            "gunicorn.error": {"level": "WARNING", "handlers": [], "propagate": True},
        },
    }


def _formatter(kind: str) -> logging.Formatter:
    """Return the formatter of records, also of libraries: `json`, `text` or `colours`."""
    lines: list[Processor] = [_as_json] if kind == "json" else [_short, _console(kind)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_of_a_library], processors=[_complete, *lines], keep_exc_info=False
    )


def error_location(error: BaseException) -> str:
    """Return an exception's class and code locations, without its text, which may quote personal data."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-6:]))
    return f"{type(error).__name__} at {places}" if places else type(error).__name__


def _kind(environ: Mapping[str, str]) -> str:
    try:
        choice = log_format(environ)
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    is_terminal = sys.stderr.isatty()
    if choice == "json" or not (choice or is_terminal):
        return "json"
    return "colours" if is_terminal else "text"


def _console(kind: str) -> Processor:
    return structlog.dev.ConsoleRenderer(colors=kind == "colours", pad_event_to=24, sort_keys=False)


def _of_a_library(_logger: object, _method: str, fields: Fields) -> Fields:
    """Give a library's message a fixed event name, and remove quoted data."""
    record: logging.LogRecord = fields["_record"]
    error = _error_of(fields)
    data = getattr(record, "data", None)
    if record.name == "celery.app.trace" and error is not None and isinstance(data, dict):
        task_fields = {"event": _TASK_FAILED, "task": data.get("name"), "task_id": data.get("id")}
        return {**fields, **task_fields}
    return {**fields, "event": _LIBRARY_MESSAGE, "text": _without_quotes(fields["event"], error)}


def _without_quotes(text: str, error: BaseException | None) -> str:
    for words in _QUOTING:
        if text.startswith(words):
            return words
    # Its class and location are logged anyway; its text may hold personal data.
    for quoted in (repr(error), str(error)) if error is not None else ():
        text = text.replace(quoted, type(error).__name__) if quoted else text
    lines = text.strip().splitlines()
    return lines[0][:500] if lines else ""


def _error_of(fields: Fields) -> BaseException | None:
    exc_info = fields.get("exc_info")
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    return error if isinstance(error, BaseException) else None


def _complete(_logger: object, _method: str, fields: Fields) -> Fields:
    """Put time, level, event and logger first, and replace an exception by its location."""
    record: logging.LogRecord = fields["_record"]
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    error = _error_of(fields)
    hidden = ("event", "exc_info", "stack_info", "_record", "_from_structlog")
    return {
        "timestamp": at.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": fields["event"],
        "logger": record.name,
        **{name: value for name, value in fields.items() if name not in hidden},
        **({"error": error_location(error)} if error is not None else {}),
    }


def _short(_logger: object, _method: str, fields: Fields) -> Fields:
    # On a terminal the event name is enough.
    return {name: value for name, value in fields.items() if name != "logger"}


def _as_json(_logger: object, _method: str, fields: Fields) -> str:
    return orjson.dumps(fields, default=str).decode()
