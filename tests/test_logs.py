"""Every process writes one event a line, with names that the documents list, and quotes nobody."""

import ast
import json
import logging
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from worker import logs

ROOT = Path(__file__).parents[1]
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
PRIVATE = "jane@example.org"


def _calls() -> dict[str, tuple[set[str], set[str]]]:
    """Return the levels and the fields of every event that the code logs."""
    found: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for file in [*(ROOT / "worker").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]:
        # The stand-in for Pinterest shares no code with the rest, and is nobody's production.
        if "sandbox" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if (
                node.func.attr in LEVELS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
            ):
                name = node.args[0]
                is_fixed = isinstance(name, ast.Constant) and len(node.args) == 1
                assert is_fixed, f"{file}:{node.lineno} gives no fixed name, or values that are no fields"
                assert isinstance(name, ast.Constant)
                levels, fields = found[name.value]
                levels.add(node.func.attr)
                fields.update(keyword.arg or "**" for keyword in node.keywords)
    return found


def test_the_page_of_logs_lists_every_event_with_its_level_and_its_fields() -> None:
    rows = re.findall(
        r"^\| `([a-z_]+)` \| (\w*) \| (.*?) \|", (ROOT / "docs/logs.md").read_text(), re.MULTILINE
    )
    listed = {name: ({level}, set(re.findall(r"`(\w+)`", fields))) for name, level, fields in rows}
    libraries = {
        logs._TASK_FAILED: ({"error"}, {"task", "task_id", "error"}),
        logs._LIBRARY_MESSAGE: ({"any"}, {"text", "error"}),
    }

    assert len(rows) == len(listed)
    assert listed == dict(_calls()) | libraries


def _line(record: logging.LogRecord, kind: str = "json") -> Any:
    line = logs._formatter(kind).format(record)
    assert "\n" not in line
    return json.loads(line) if kind == "json" else line


def _record(name: str, text: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(name, logging.ERROR, __file__, 1, text, args, info)


def _raised() -> ValueError:
    try:
        raise ValueError(f"no such person: {PRIVATE}\n in two lines")
    except ValueError as error:
        return error


def test_our_own_events_have_their_fields_in_json_and_on_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    logs.of("worker.somewhere").error("batch_settled", batch_id=7, ad_account="1")
    [record] = caplog.records

    line = _line(record)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "error",
        "event": "batch_settled",
        "logger": "worker.somewhere",
        "batch_id": 7,
        "ad_account": "1",
    }
    assert re.search(r"batch_settled +batch_id=7 ad_account=1$", _line(record, "text"))


def test_what_a_library_says_is_one_line_without_what_it_quotes() -> None:
    error = _raised()
    line = _line(_record("celery.worker", "Thread failed: %r\nTraceback", error, error=error))

    assert (line["event"], line["text"]) == ("library_message", "Thread failed: ValueError")
    assert line["error"].startswith("ValueError at test_logs.py:")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gunicorn.error", f"Invalid request from ip=203.0.113.9: Invalid HTTP request line: '{PRIVATE}'"),
        ("gunicorn.error", f"Error handling request /v1/t?email={PRIVATE}"),
        ("worker.api", f"Exception on /v1/admin/find/{PRIVATE} [GET]"),
    ],
)
def test_an_address_that_was_asked_for_is_not_repeated(name: str, text: str) -> None:
    line = logs._formatter("json").format(_record(name, text, error=_raised()))

    assert [word for word in (PRIVATE, "203.0.113.9", "find/") if word in line] == []
    assert "ValueError at test_logs.py:" in line


def test_a_task_that_failed_is_told_by_name_id_and_place() -> None:
    record = _record("celery.app.trace", "Task %(name)s[%(id)s] raised unexpected: %(exc)s", error=_raised())
    record.args = {"name": "tasks.t", "id": "i", "exc": repr(_raised())}  # type: ignore[assignment]
    record.data = record.args
    line = _line(record)

    assert {name: line[name] for name in ("event", "task", "task_id")} == {
        "event": "task_failed",
        "task": "tasks.t",
        "task_id": "i",
    }
    assert PRIVATE not in json.dumps(line)


SCRIPT = """
import logging
from worker import logs
logs.set_up()
logs.of("worker.x").info("batch_settled", batch_id=7)
logging.getLogger("celery").info("not worth a line")
logging.getLogger("celery").warning("consumer: %s", "away")
"""


@pytest.mark.parametrize(("asked", "is_json"), [("json", True), ("text", False), ("", True)])
def test_the_environment_says_how_and_a_pipe_gets_json(asked: str, is_json: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        check=False,
        env={"LOG_FORMAT": asked},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    lines = done.stderr.splitlines()

    assert (done.returncode, done.stdout, len(lines)) == (0, "", 2)
    assert [line.startswith("{") for line in lines] == [is_json] * 2
    assert "batch_id" in lines[0]
    assert "consumer: away" in lines[1]


def test_another_format_stops_the_process_with_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "--help"],
        env={"LOG_FORMAT": "xml"},
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == "LOG_FORMAT must be json or text, not 'xml'."
