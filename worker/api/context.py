"""The ledger, settings and caller of the current request."""

from dataclasses import dataclass

from flask import Flask, current_app, g

from worker.ledger.database import Ledger
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.monitoring.checks import Readiness
from worker.monitoring.metrics import Exporter
from worker.operations.caller import Caller
from worker.readiness import readiness_of
from worker.settings import Settings

_NAME = "signal-management"


@dataclass(frozen=True, slots=True)
class _Made:
    ledger: Ledger
    settings: Settings
    readiness: Readiness
    exporter: Exporter


def provide(app: Flask, ledger: Ledger, settings: Settings) -> None:
    """Give an app its ledger and settings."""
    app.extensions[_NAME] = _Made(ledger, settings, readiness_of(ledger), Exporter(ledger))


def app_ledger() -> Ledger:
    """Return the app's ledger."""
    return _made().ledger


def app_settings() -> Settings:
    """Return the app's settings."""
    return _made().settings


def usual_rate() -> AccountRateLimit:
    """Return the rate of an ad account that has none of its own."""
    return AccountRateLimit(app_settings().rate_limit_rps, app_settings().rate_limit_burst)


def readiness() -> Readiness:
    """Return the readiness checks of the app."""
    return _made().readiness


def exporter() -> Exporter:
    """Return the metrics exporter of the app."""
    return _made().exporter


def now() -> float:
    """Return the time that all hosts share, in Unix seconds."""
    return app_ledger().now()


def request_caller() -> Caller:
    """Return the caller of the request, for the operations."""
    return Caller(app_ledger(), g.actor, now())


def _made() -> _Made:
    made: _Made = current_app.extensions[_NAME]
    return made
