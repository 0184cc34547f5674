"""The collector's HTTP app."""

import atexit
import sys
import time
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from time import perf_counter

from flask import Flask, Response, g, request
from sqlalchemy.exc import SQLAlchemyError

from worker import logs
from worker.collector import datafly_script, error_responses, segment
from worker.collector.gateway import LARGEST_BODY_BYTES, Gateway
from worker.collector.intake import GroupCommit
from worker.collector.limits import state_folder
from worker.collector.spooling import SpoolingIntake
from worker.ledger import migrate
from worker.ledger.database import Ledger, LedgerRefusedError, is_ledger_unavailable
from worker.ledger.reports import measures
from worker.ledger.setup.sources import WEBHOOK_SYSTEMS
from worker.ledger.vault import SealError
from worker.monitoring import metrics, tracing
from worker.monitoring.checks import Readiness
from worker.monitoring.measures_as_metrics import REJECTION_REASONS
from worker.monitoring.meter import Meter, MeterWriter
from worker.monitoring.metrics import CONTENT_TYPE, Exporter
from worker.pipeline.ingest.accepting import PublishIds
from worker.readiness import readiness_of
from worker.settings import Settings, SettingsError


def _measure_responses(app: Flask, meter: Meter) -> None:
    """Measure the answers of an app to events; this costs a few microseconds each."""

    def start() -> None:
        g.started = perf_counter()

    def measure(response: Response) -> Response:
        if request.method == "POST" and request.url_rule is not None:
            meter.observe(measures.ANSWER_SECONDS, perf_counter() - g.started)
            for code, events in g.get("rejected", {}).items():
                if code in REJECTION_REASONS:
                    meter.count(measures.REJECTED, REJECTION_REASONS[code], events)
        return response

    app.before_request(start)
    app.after_request(measure)


# gunicorn stops at this status instead of restarting the worker forever.
_CANNOT_START = 3

# Callers get an answer within ten seconds, also if the database's host has vanished.
_PATIENCE_SECONDS = 6.0

_OPENAPI = Path(__file__).with_name("openapi.yaml")
_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(
    ledger: Ledger,
    settings: Settings,
    offer: PublishIds,
    now: Callable[[], float] = time.time,
    meter: Meter | None = None,
    intake: SpoolingIntake | None = None,
) -> Flask:
    """Build the app; ``offer`` gets the ids of accepted events after their commit."""
    app = Flask("worker.collector", static_folder=None)
    # One byte more: a body without a length is truncated here, and must still count as too large.
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY_BYTES + 1
    gateway = Gateway(
        ledger=ledger,
        offer=offer,
        trusted_proxies=tuple(ip_network(network) for network in settings.trusted_proxies),
        folder=state_folder(ledger, settings),
        rates=settings.intake_rates,
        now=now,
        local_client_ip=settings.local_client_ip,
        intake=intake,
    )
    error_responses.add_error_handlers(app)
    spool = settings.spool_folder if intake else None
    _add_routes(app, gateway, readiness_of(ledger, spool=spool, most_bytes=settings.spool_max_bytes))
    _add_metrics(app, Exporter(ledger, spool=spool), settings.metrics_token)
    _measure_responses(app, meter or Meter())
    datafly_script.add_script_routes(app)
    app.after_request(gateway.add_cors_headers)
    app.after_request(_add_security_headers)
    return app


def application() -> Flask:
    """Build the app from the environment, for gunicorn; a configuration error stops the process with a message."""
    logs.set_up()
    try:
        return _from_environment()
    except (SettingsError, LedgerRefusedError, SealError) as error:
        sentence = str(error)
    except (SQLAlchemyError, OSError) as error:
        sentence = f"The ledger cannot be opened ({type(error).__name__}): is DATABASE_URL right?"
    print(sentence, file=sys.stderr, flush=True)
    raise SystemExit(_CANNOT_START)


def _from_environment() -> Flask:
    from worker.runtime import hint_publisher, open_ledger
    from worker.settings import settings

    # Before Celery's settings are loaded: wrong ones end a process with a status that gunicorn takes for a crash.
    config = settings()
    ledger = open_ledger(config, _PATIENCE_SECONDS)
    spools = bool(config.spool_max_bytes) and not ledger.is_sqlite
    outage = _check(ledger, prepare=spools)
    tracing.tracer()
    meter = Meter()
    writer = MeterWriter(meter, lambda: ledger)
    writer.start()
    from worker.app import app

    publisher = hint_publisher(app, meter)
    intake = None
    if spools:
        accept, folder = GroupCommit(ledger).accept, config.spool_folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            reason = f"needs a state folder that can be written to, or must be 0: {error}."
            raise SettingsError("SPOOL_MAX_MB", reason) from None
        intake = SpoolingIntake(ledger, accept, folder, config.spool_max_bytes, publisher.offer)
    if outage and not (intake and intake.start_without_ledger(outage)):
        raise outage
    if intake:
        intake.start()
    # gunicorn's workers end by sys.exit, so that this runs in each of them after its last request.
    for last_deed in (ledger.dispose, writer.close, publisher.close, *((intake.close,) if intake else ())):
        atexit.register(last_deed)
    return create_app(ledger, config, publisher.offer, ledger.now, meter, intake)


def _check(ledger: Ledger, *, prepare: bool) -> Exception | None:
    """Return the error if the ledger is away; other errors are raised."""
    try:
        migrate.check_ledger(ledger)
        if prepare:
            # Sealing an event needs keys, which cannot be read in an outage.
            ledger.vault.prepare()
    except Exception as error:
        if not is_ledger_unavailable(error):
            raise
        return error
    return None


def _add_routes(app: Flask, gateway: Gateway, readiness: Readiness) -> None:
    def add(rule: str, method: str, view: Callable[..., Response]) -> None:
        name = f"{method} {rule}".replace(".", "_")
        app.add_url_rule(rule, name, view, methods=[method], provide_automatic_options=False)

    add("/v1/<any(t, p, i, g):call>", "POST", gateway.single)
    add("/v1/batch", "POST", gateway.batch)
    add("/v1/events", "POST", gateway.signed)
    calls = ", ".join(segment.CALLS)
    add(f"/v1/<any({calls}):call>", "POST", gateway.segment)
    add("/beacon/v1/batch", "POST", lambda: gateway.segment("b"))
    add("/sourceConfig/", "GET", gateway.source_config)
    add(f"/v1/<any(t, p, i, g, batch, {calls}):call>", "OPTIONS", gateway.preflight)
    for path in ("/beacon/v1/batch", "/sourceConfig/"):
        add(path, "OPTIONS", lambda: gateway.preflight(""))
    add("/openapi.yaml", "GET", _openapi)
    systems = ", ".join(WEBHOOK_SYSTEMS)
    add(f"/v1/webhooks/<source_id>/<any({systems}):call>", "POST", gateway.webhook)
    add("/healthz", "GET", _healthz)
    add("/readyz", "GET", lambda: error_responses.json_response(*readiness.answer()))


def _add_metrics(app: Flask, exporter: Exporter, token: str) -> None:
    def show() -> Response:
        if not metrics.may_read(request.headers, request.remote_addr, token):
            raise error_responses.RefusedError(403, "FORBIDDEN", metrics.REFUSAL)
        return Response(exporter.text(), content_type=CONTENT_TYPE)

    app.add_url_rule("/metrics", "metrics", show, methods=["GET"], provide_automatic_options=False)


def _openapi() -> Response:
    return Response(_OPENAPI.read_bytes(), content_type="application/yaml")


def _healthz() -> Response:
    return error_responses.json_response({"success": True})


def _add_security_headers(response: Response) -> Response:
    for name, value in _SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response
