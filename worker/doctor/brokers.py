"""Ask brokers about themselves."""

import re
import time
from collections.abc import Iterable
from typing import Any, cast

from amqp.exceptions import NotFound, PreconditionFailed
from celery import Celery
from kombu import Connection

from worker.doctor.facts import RabbitFacts, RedisFacts

BROKER_ANSWER_SECONDS = 3.0
# Where kombu notes what is bound to an exchange. Ours have no name; these are Celery's own, in every application.
_BINDING = "_kombu.binding."
_EVERYBODYS = re.compile(r"|celeryev|(reply\.)?celery\.pidbox")


def redis_facts(connection: Connection) -> RedisFacts:
    """Ask a Redis or Valkey; INFO is open also where CONFIG is not, as on hosted ones."""
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


def rabbit_facts(connection: Connection, queues: Iterable[str]) -> RabbitFacts:
    """Ask a RabbitMQ, without its management plug-in and without making anything."""
    connection.connect()
    told = cast(dict[str, Any], connection.connection.server_properties)
    found = {name: _is_quorum(connection, name) for name in queues}
    return RabbitFacts(
        version=str(told.get("version", "unknown")),
        confirms=bool(told.get("capabilities", {}).get("publisher_confirms")),
        queues={name: is_quorum for name, is_quorum in found.items() if is_quorum is not None},
    )


def _is_quorum(connection: Connection, name: str) -> bool | None:
    """Tell whether a queue is a durable quorum queue; None where there is none.

    RabbitMQ closes the channel over each refusal, so that each question has one of its own.
    """
    try:
        cast(Any, connection.channel()).queue_declare(queue=name, passive=True)
    except NotFound:
        return None
    channel = cast(Any, connection.channel())
    try:
        # It is there, so that this only compares.
        channel.queue_declare(
            queue=name, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
        )
    except PreconditionFailed:
        return False
    channel.close()
    return True


def listening(app: Celery, connection: Connection) -> dict[str, list[str]]:
    """Return the names of the workers that listen to each queue, of those that answer in time."""
    answers = app.control.inspect(timeout=BROKER_ANSWER_SECONDS, connection=connection).active_queues() or {}
    found: dict[str, list[str]] = {}
    for worker, queues in answers.items():
        for queue in queues:
            found.setdefault(queue["name"], []).append(worker)
    return found
