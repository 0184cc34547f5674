"""Count what the tests of attacks try, by class: ``python -m tests.security.tried``."""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping

from flask import Flask

from tests.security import hostile, test_openapi, test_roles
from worker.ledger.database import Ledger
from worker.ledger.migrate import migrate
from worker.settings import parse
from worker.web.management import create_app

# Tests of which each case is an attempt. A case that runs on both databases counts once.
CASES: Mapping[str, tuple[str, ...]] = {
    "malformed HTTP, on a raw socket": ("tests/test_malformed_requests.py",),
    "bodies, encodings and compression bombs": (
        "tests/collector/test_bad_input.py",
        "tests/collector/test_gunicorn.py",
    ),
    "keys, signatures and replays": ("tests/collector/test_callers.py", "tests/collector/test_replays.py"),
    "foreign origins": ("tests/collector/test_cors.py",),
    "forged events and identities": (
        "tests/integration/test_forged_events.py",
        "tests/pipeline/test_trust.py",
        "tests/ledger/delivery/test_signed_precedence.py",
        "tests/collector/test_trust.py",
    ),
    "internal addresses": ("tests/http/test_guard.py",),
    "keys and settings that production refuses": ("tests/test_production.py",),
}


def counts() -> dict[str, int]:
    """Return how many attempts there are of each class."""
    by_file = _cases_by_file()
    found = {name: sum(by_file[path] for path in paths) for name, paths in CASES.items()}
    with tempfile.TemporaryDirectory() as folder:
        return found | _of_routes(_management(folder)) | _of_texts()


def _cases_by_file() -> Counter[str]:
    """Collect the tests, each once for both databases."""
    paths = [path for paths in CASES.values() for path in paths]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", *paths]
    # Options of the run that this is part of would change what is printed.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    printed = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=300
    ).stdout
    ids = {re.sub(r"\b(sqlite|postgresql)\b-?", "", line) for line in printed.splitlines() if "::" in line}
    return Counter(one.partition("::")[0] for one in ids)


def _management(folder: str) -> Flask:
    settings = parse({"SIGNAL_VAR": folder})
    ledger = Ledger(settings.database_url, settings.encryption_keys)
    migrate(ledger)
    try:
        return create_app(ledger, settings)
    finally:
        ledger.dispose()


def _of_routes(app: Flask) -> dict[str, int]:
    routes = list(test_roles.routes(app))
    forms = sum(
        endpoint.startswith("ui.") and "POST" in methods and test_roles.LEAST_ROLE[endpoint] != "own"
        for endpoint, _, methods in routes
    )
    roles = len(test_roles.RANKS)
    operations = {(path, method) for _, path, methods in routes for method in methods - {"HEAD"}}
    api = [path for path, _ in operations if path.startswith("/v1/admin/") and "/docs/" not in path]
    return {
        "routes and methods of the Management API and pages, for each role": roles
        * sum(len(methods) for *_, methods in routes),
        "forms without the secret of their session": roles * len(test_roles.SECRETS) * forms,
        # Allowed and forbidden ones of each operation.
        "requests generated from the descriptions of the Management API": 2
        * test_openapi.MANY_EXAMPLES
        * len(api),
    }


def _of_texts() -> dict[str, int]:
    return {
        "costly texts, in every field": len(list(hostile.texts())),
        "costly shapes of an event": len(list(hostile.shapes(hostile.MOST_BYTES))),
    }


if __name__ == "__main__":
    rows = counts()
    sys.stdout.writelines(f"| {name} | {n:,} |\n" for name, n in rows.items())
