"""The Management API."""

import sys
from typing import NoReturn

import flask_smorest
from flask import Flask, Response
from sqlalchemy.exc import SQLAlchemyError

from worker import logs
from worker.api import (
    accounts,
    alerts,
    audit,
    auth,
    context,
    docs,
    erasures,
    errors,
    explain,
    failed,
    health,
    integrations,
    parked,
    prometheus,
    reports,
    sources,
)
from worker.ledger import migrate
from worker.ledger.database import Ledger
from worker.ledger.vault import SealError
from worker.pages import registry
from worker.settings import Settings, SettingsError, settings

_LARGEST_BODY_BYTES = 256 * 1024

# What gunicorn takes for "the app does not load": it stops, where any other status makes it try again.
_STATUS_OF_NO_APP = 4


class _Api(flask_smorest.Api):  # type: ignore[misc]  # flask-smorest ships no types.
    ERROR_SCHEMA = errors.ErrorAnswer


def create_app(ledger: Ledger, settings: Settings) -> Flask:
    """Make the app; the ledger must be migrated."""
    app = Flask("worker.api", static_folder=None)
    app.config.update(docs.CONFIG, MAX_CONTENT_LENGTH=_LARGEST_BODY_BYTES)
    # Fields come in the order in which the shapes declare them.
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's own provider has it.
    context.provide(app, ledger, settings)
    protect(app)
    auth.add_guard(app)
    api = _Api(app)
    for room in (sources, integrations, accounts, failed, parked, alerts, reports, explain, erasures, audit):
        api.register_blueprint(room.blueprint)
    for plain in (health.blueprint, prometheus.blueprint, docs.blueprint, registry.blueprint):
        app.register_blueprint(plain)
    errors.add_api_error_handlers(app)
    return app


def application() -> Flask:
    """Make the app that the environment asks for; what is wrong stops the process with one sentence."""
    logs.set_up()
    try:
        wanted = settings()
        ledger = Ledger(wanted.database_url, wanted.encryption_keys)
        migrate.check_ledger(ledger)
    except (SettingsError, migrate.MigrationsMissingError, SealError) as error:
        _stop(str(error))
    except (SQLAlchemyError, OSError) as error:
        _stop(f"The ledger cannot be opened: {type(error).__name__}. DATABASE_URL names it.")
    # What the checks opened must not be shared by processes that are forked later.
    ledger.dispose()
    return create_app(ledger, wanted)


def _stop(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    raise SystemExit(_STATUS_OF_NO_APP)


_NOTHING = "default-src 'none'; frame-ancestors 'none'"


def protect(app: Flask) -> None:
    """Set them on every answer; a page that needs more than nothing says so in its own policy."""

    def add(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", _NOTHING)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    app.after_request(add)
