"""Run all checks of an installation in turn. A check that breaks does not stop the others."""

import os
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, cast

import requests
from amqp.exceptions import NotFound, PreconditionFailed
from celery import Celery
from kombu import Connection

from worker.broker.queues import queue_states
from worker.doctor import findings
from worker.doctor.findings import FileFacts, RabbitFacts, RedisFacts, SiteFacts
from worker.event.times import parse_time
from worker.ledger.database import Ledger
from worker.ledger.reports import measures
from worker.ledger.setup import ad_accounts, integrations, sources
from worker.ledger.setup.integrations import Integration
from worker.ledger.upkeep import alert_queries, alerts
from worker.monitoring import broker_check, checks
from worker.monitoring.checks import Finding, State
from worker.operations.caller import Caller
from worker.operations.reports.alerts import list_alerts
from worker.operations.setup import connection_check
from worker.settings import DEMO_TOKEN_PREFIX, PINTEREST_API_URL, Settings

_BROKER_ANSWER_SECONDS = 3.0
# Prefix of the keys in which kombu stores the bindings of an exchange. Our exchange has no name. Celery's own exchanges
# exist for every application.
_BINDING = "_kombu.binding."
_EVERYBODYS = re.compile(r"|celeryev|(reply\.)?celery\.pidbox")


def _redis_facts(connection: Connection) -> RedisFacts:
    """Query a Redis or Valkey server. Hosted servers often forbid CONFIG, so this uses INFO."""
    channel: Any = connection.default_channel
    client = channel.client
    info: dict[str, Any] = {}
    for section in ("server", "memory", "persistence", "replication", "cluster"):
        info |= client.info(section)
    before = time.time()
    seconds, microseconds = client.time()
    skew_seconds = seconds + microseconds / 1e6 - (before + time.time()) / 2
    return RedisFacts(
        version=str(info.get("valkey_version") or info.get("redis_version")),
        eviction_policy=str(info.get("maxmemory_policy", "unknown")),
        append_only=bool(info.get("aof_enabled")),
        append_only_failing=info.get("aof_last_write_status", "ok") != "ok",
        used_bytes=int(info.get("used_memory", 0)),
        maxmemory_bytes=int(info.get("maxmemory", 0)),
        is_cluster=bool(info.get("cluster_enabled")),
        is_replica=info.get("role") == "slave",
        time_skew_seconds=skew_seconds,
        strange_exchanges=_strange_exchanges(client),
    )


def _strange_exchanges(client: Any) -> tuple[str, ...]:
    keys = client.scan_iter(match=f"{_BINDING}*", count=1_000)
    names = (key.decode(errors="replace").removeprefix(_BINDING) for key in keys)
    return tuple(sorted(name for name in names if not _EVERYBODYS.fullmatch(name)))


def _rabbit_facts(connection: Connection, queues: Iterable[str]) -> RabbitFacts:
    """Query a RabbitMQ server. Needs no management plug-in, and creates nothing."""
    connection.connect()
    properties = cast(dict[str, Any], connection.connection.server_properties)
    quorums = {name: _is_quorum(connection, name) for name in queues}
    return RabbitFacts(
        version=str(properties.get("version", "unknown")),
        confirms=bool(properties.get("capabilities", {}).get("publisher_confirms")),
        queues={name: is_quorum for name, is_quorum in quorums.items() if is_quorum is not None},
    )


def _is_quorum(connection: Connection, name: str) -> bool | None:
    """Return whether a queue is a durable quorum queue, or None if it does not exist.

    RabbitMQ closes the channel when it refuses a command, so each command gets its own channel.
    """
    try:
        cast(Any, connection.channel()).queue_declare(queue=name, passive=True)
    except NotFound:
        return None
    channel = cast(Any, connection.channel())
    try:
        # The queue exists, so this only compares its arguments.
        channel.queue_declare(
            queue=name, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
        )
    except PreconditionFailed:
        return False
    channel.close()
    return True


def _certificate_days_left(connection: Connection) -> float | None:
    """Return for how many days the certificate of an encrypted connection is valid; None if it was not checked."""
    connection.connect()
    if connection.transport.driver_type == "amqp":
        return _days_left(cast(Any, connection.connection).sock)
    pool = cast(Any, connection.default_channel).client.connection_pool
    client = pool.get_connection()
    try:
        return _days_left(client._sock)
    finally:
        pool.release(client)


def _days_left(sock: ssl.SSLSocket) -> float | None:
    certificate = sock.getpeercert()
    if not certificate:
        return None
    return (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86_400


def _workers_by_queue(app: Celery, connection: Connection) -> dict[str, list[str]]:
    """Return the names of the workers that consume from each queue. Workers that do not answer in time are missing."""
    answers = app.control.inspect(timeout=_BROKER_ANSWER_SECONDS, connection=connection).active_queues() or {}
    workers: dict[str, list[str]] = {}
    for worker, queues in answers.items():
        for queue in queues:
            workers.setdefault(queue["name"], []).append(worker)
    return workers


_ANSWER_SECONDS = 5.0


class Checkup:
    """All checks of an installation, and what they need."""

    def __init__(
        self, settings: Settings, ledger: Ledger, app: Celery, free_bytes: Callable[[], int]
    ) -> None:
        self._settings, self._ledger, self._app, self._free_bytes = settings, ledger, app, free_bytes
        self._queues = [queue.name for queue in app.conf.task_queues]

    def findings(self, *, with_tokens: bool) -> Iterator[Finding]:
        """Yield the findings, in the order in which an operator would fix them."""
        yield from self._safely("production", self._production)
        yield from self._safely("state folder", self._folder)
        answers = findings.database_finding(checks.check_database(self._ledger))
        yield answers
        ledger_is_good = answers.state is State.OK
        # Without the database these checks would only report the same problem again.
        for check in (checks.check_migrations, checks.check_keys) if ledger_is_good else ():
            finding = check(self._ledger)
            ledger_is_good = ledger_is_good and finding.state is State.OK
            yield finding
        if ledger_is_good:
            yield from self._safely("database clock", self._database_clock)
        yield from self._broker()
        if ledger_is_good:
            yield from self._safely("the batcher runs", self._pulses)
        yield from self._sites()
        if ledger_is_good and with_tokens:
            yield from self._safely("tokens", self._tokens)
        if ledger_is_good:
            yield from self._safely("alerts", self._alerts)

    def _safely(self, check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
        try:
            yield from look()
        except Exception as error:  # noqa: BLE001 - a check that breaks is a finding, and the others still run
            yield findings.broken_check_finding(check, error)

    def _production(self) -> Iterator[Finding]:
        config = self._settings
        yield findings.production_finding(
            is_production=config.production,
            embedded_broker=config.embedded_broker,
            is_sqlite=self._ledger.is_sqlite,
        )
        if config.sandbox_url:
            yield findings.sandbox_finding(config.sandbox_url)

    def _folder(self) -> Iterator[Finding]:
        var = self._settings.var
        secrets = var / "secrets.json"
        mode = secrets.stat().st_mode & 0o777 if secrets.exists() else None
        yield findings.folder_finding(FileFacts(os.access(var, os.W_OK | os.X_OK), mode))
        yield findings.disk_finding(self._free_bytes())
        if self._settings.spool_max_bytes and not self._ledger.is_sqlite:
            yield checks.check_spool(self._settings.spool_folder, self._settings.spool_max_bytes)

    def _database_clock(self) -> Iterator[Finding]:
        before = time.time()
        with self._ledger.read() as connection:
            server_time = alert_queries.server_time(connection)
        if server_time is not None:
            yield findings.clock_finding(
                "database clock", "the database's", server_time - (before + time.time()) / 2
            )

    def _broker(self) -> Iterator[Finding]:
        finding = broker_check.check_broker(self._connect)
        yield findings.broker_finding(finding, embedded=self._settings.embedded_broker)
        if finding.state is not State.OK:
            return
        yield from self._safely("broker settings", self._broker_settings)
        yield from self._safely("workers", self._workers)

    def _broker_settings(self) -> Iterator[Finding]:
        with self._connect() as connection:
            if self._settings.broker.tls is not None:
                yield findings.encryption_finding(_certificate_days_left(connection))
            if self._settings.broker_url.startswith("amqp"):
                facts = _rabbit_facts(connection, self._queues)
                yield from findings.rabbit_findings(facts, self._queues)
            else:
                yield from findings.redis_findings(_redis_facts(connection))

    def _workers(self) -> Iterator[Finding]:
        with self._connect() as connection:
            consumers = _workers_by_queue(self._app, connection)
            leftovers = self._left_over(connection)
        yield from findings.worker_findings(consumers, self._queues, leftovers)

    def _left_over(self, connection: Connection) -> dict[str, int]:
        """Return the messages of queues of events that are not in use any more; of none without the database."""
        if checks.check_migrations(self._ledger).state is not State.OK:
            return {}
        with self._ledger.read() as reading:
            names = measures.former_queues(reading, self._settings.unused_event_queues)
        return {state.name: state.messages for state in queue_states(connection, names) if state.messages}

    def _connect(self) -> Connection:
        return self._app.connection_for_write()

    def _pulses(self) -> Iterator[Finding]:
        with self._ledger.read() as connection:
            last = measures.last_heartbeats(connection)
        for name in (measures.BATCHER, measures.SWEEPER):
            yield findings.last_run_finding(name, last.get(name), time.time())

    def _sites(self) -> Iterator[Finding]:
        config = self._settings
        for name, url, path in (
            ("collector", config.collector_url, "/healthz"),
            ("management", config.management_url, "/healthz"),
            ("flower", config.flower_url, "/healthcheck"),
        ):
            yield findings.site_finding(_request_site(name, url, path))
        yield findings.flower_password_finding(_request_site("flower", config.flower_url, "/workers"))

    def _tokens(self) -> Iterator[Finding]:
        with self._ledger.read() as connection:
            enabled = [
                integration
                for integration in integrations.iterate_integrations(connection)
                if integration.enabled
            ]
        for integration in enabled:
            yield from self._safely(f"token of {integration.id}", partial(self._token, integration))

    def _token(self, integration: Integration) -> Iterator[Finding]:
        with self._ledger.read() as connection:
            token = ad_accounts.access_token(connection, self._ledger.vault, integration.credential_id)
            source = sources.load_source(connection, integration.source_id)
        if self._settings.pinterest_api_url == PINTEREST_API_URL and token.startswith(DEMO_TOKEN_PREFIX):
            yield findings.demo_token_finding(integration.id)
            return
        domain = next(iter(source.domains if source else ()), "example.com")
        report = connection_check.send_test_event(
            self._settings.pinterest_api_url, integration.ad_account_id, token, domain, time.time()
        )
        marks = {finding.mark for finding in report.findings}
        expires_at = parse_time(integration.config.get("token_expires_at"))
        yield findings.token_finding(
            integration.id,
            is_good=False if "bad" in marks else None if "unknown" in marks else True,
            sentence=report.sentence,
            expires_in_seconds=None if expires_at is None else expires_at - time.time(),
        )

    def _alerts(self) -> Iterator[Finding]:
        with self._ledger.read() as connection:
            unsent = alerts.unsent_since(connection, self._ledger.now())
        caller = Caller(self._ledger, "doctor", self._ledger.now())
        yield findings.alerts_finding(list_alerts(caller).firing, unsent)


def _request_site(name: str, url: str, path: str) -> SiteFacts:
    """Request one of our own addresses, without a password."""
    try:
        answer = requests.get(url + path, timeout=_ANSWER_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return SiteFacts(name, url, None, type(error).__name__)
    return SiteFacts(name, url, answer.status_code)
