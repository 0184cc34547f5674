"""The Management API."""

import sys
from typing import NoReturn

import flask_smorest
from apispec.ext.marshmallow import MarshmallowPlugin, resolver
from flask import Flask, Response
from sqlalchemy.exc import SQLAlchemyError

from worker import logs, runtime
from worker.api import (
    access,
    accounts,
    alerts,
    audit,
    auth,
    books,
    context,
    data_quality,
    docs,
    errors,
    explain,
    failed,
    find,
    health,
    integrations,
    match_quality,
    orders,
    parked,
    person,
    prometheus,
    sources,
    stats,
)
from worker.ledger import migrate
from worker.ledger.database import Ledger, LedgerRefusedError
from worker.ledger.vault import SealError
from worker.pages import registry
from worker.settings import Settings, SettingsError, settings

_LARGEST_BODY_BYTES = 256 * 1024

# gunicorn's status for an app that does not load: it stops. After any other status it retries.
_APP_LOAD_ERROR = 4


class _Api(flask_smorest.Api):  # type: ignore[misc]  # flask-smorest ships no types.
    ERROR_SCHEMA = errors.ErrorAnswer


def create_app(ledger: Ledger, settings: Settings) -> Flask:
    """Create the app; the ledger must be migrated."""
    app = Flask("worker.api", static_folder=None)
    app.config.update(docs.CONFIG, MAX_CONTENT_LENGTH=_LARGEST_BODY_BYTES)
    # Keep fields in the order in which the schemas declare them.
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's own provider has it.
    context.provide(app, ledger, settings)
    _protect(app)
    auth.add_guard(app)
    # Most shapes are private to their module; the description shows their names without the underscore.
    names = MarshmallowPlugin(schema_name_resolver=lambda shape: resolver(shape).removeprefix("_"))
    api = _Api(app, spec_kwargs={"marshmallow_plugin": names})
    for resource in (
        sources,
        integrations,
        accounts,
        failed,
        parked,
        orders,
        alerts,
        books,
        find,
        stats,
        match_quality,
        data_quality,
        explain,
        person,
        access,
        audit,
    ):
        api.register_blueprint(resource.blueprint)
    for plain in (health.blueprint, prometheus.blueprint, docs.blueprint, registry.blueprint):
        app.register_blueprint(plain)
    errors.add_api_error_handlers(app)
    return app


def application() -> Flask:
    """Create the app from the environment; exit with one message if a setting or the ledger is wrong."""
    logs.set_up()
    try:
        options = settings()
        ledger = runtime.open_ledger(options)
        migrate.check_ledger(ledger)
    except (SettingsError, LedgerRefusedError, SealError) as error:
        _stop(str(error))
    except (SQLAlchemyError, OSError) as error:
        _stop(f"The ledger cannot be opened: {type(error).__name__}. DATABASE_URL names it.")
    # Later forks must not share the connections of the checks.
    ledger.dispose()
    return create_app(ledger, options)


def _stop(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    raise SystemExit(_APP_LOAD_ERROR)


_NOTHING = "default-src 'none'; frame-ancestors 'none'"


def _protect(app: Flask) -> None:
    """Set security headers on every response; a page may set its own content policy."""

    def add(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", _NOTHING)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    app.after_request(add)
