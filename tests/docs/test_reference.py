"""The documents about the two APIs are complete."""

import re
from functools import cache

from flask import Flask

from docs.reference import TARGET, description, reference
from tests.docs.reading import ROOT, read
from worker.collector.wsgi import create_app
from worker.event.envelope import _OPTIONAL_FIELDS
from worker.event.problem_texts import problem_text
from worker.event.problems import Problem
from worker.ledger.database import Ledger
from worker.settings import parse

COLLECTOR = ROOT / "docs" / "collector.md"
# Described on the metrics page, and the script's address with its hash.
NOT_FOR_CALLERS = {"GET /metrics", "GET /d.<string(length=12):digest>.js"}


@cache
def page() -> str:
    return reference(description())


def test_the_reference_is_current() -> None:
    assert TARGET.read_text() == page(), "run `make docs`"


def test_every_setting_of_an_integration_is_explained() -> None:
    rows = re.findall(r"^\| \**`config\.(\w+)`\** \| [^|]+ \| ([^|]*) \|$", page(), re.MULTILINE)
    assert {name for name, meaning in rows if not meaning.strip()} == set()
    assert {"access_token", "field_mapping", "event_overrides"} <= {name for name, _ in rows}


def test_every_call_of_the_collector_has_its_row(sqlite_ledger: Ledger) -> None:
    app = create_app(sqlite_ledger, parse({"SIGNAL_VAR": "var"} | _secrets()), offer=len)
    listed = set(re.findall(r"^\| `((?:GET|POST) /[\w./<>]+)`", COLLECTOR.read_text(), re.MULTILINE))
    assert listed == _calls(app) - NOT_FOR_CALLERS


def test_every_code_of_an_error_has_its_row() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "worker" / "collector").glob("*.py"))
    codes = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+|UNAUTHORIZED|UNAVAILABLE)"', sources))
    listed = set(re.findall(r"^\| \d{3} \| `([A-Z_]+)`", COLLECTOR.read_text(), re.MULTILINE))
    assert listed >= {code for code in codes if re.search(rf'[45]\d\d[:,] \(?"{code}"', sources)}
    assert listed <= codes | {"FORBIDDEN"}


def test_every_field_of_an_event_is_explained() -> None:
    assert {"type", *(name for name, _, _ in _OPTIONAL_FIELDS)} <= set(read(COLLECTOR).names)


def test_every_kind_of_problem_has_its_row() -> None:
    _, _, table = (ROOT / "docs" / "data-quality.md").read_text().partition("## Kinds")
    rows = [f"| `{kind}` | {' | '.join(problem_text(kind)[1:])} |" for kind in Problem]
    assert [row for row in rows if row not in table] == [], "add these rows to docs/data-quality.md"
    assert table.count("| `") == len(rows)


def _calls(app: Flask) -> set[str]:
    calls = set()
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            letters = re.search(r"<any\((.*)\):call>", rule.rule)
            for letter in letters[1].split(", ") if letters else [""]:
                calls.add(f"{method} {re.sub('<any.*>', letter, rule.rule)}")
    return calls


def _secrets() -> dict[str, str]:
    names = ("ADMIN_TOKEN", "FLOWER_COOKIE_SECRET")
    return {"ENCRYPTION_KEY": "ab" * 32, "FLOWER_BASIC_AUTH": "a:b"} | dict.fromkeys(names, "t" * 20)
