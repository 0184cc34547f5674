"""Turn facts into findings. A finding about a problem also says what to do."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.formats import count_text
from worker.monitoring.checks import Finding, State


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What a Redis or Valkey server reports; ``maxmemory_bytes`` is 0 without a limit.

    ``strange_exchanges`` belong to other applications in the same database.
    """

    version: str
    eviction_policy: str
    append_only: bool
    append_only_failing: bool
    used_bytes: int
    maxmemory_bytes: int
    is_cluster: bool
    is_replica: bool
    time_skew_seconds: float
    strange_exchanges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RabbitFacts:
    """What a RabbitMQ server reports: its version, publisher confirms, and our queues.

    ``queues`` maps each queue that exists to whether it is a durable quorum queue.
    """

    version: str
    confirms: bool
    queues: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """The response of an address; without one, ``status`` is missing and ``trouble`` names the error."""

    name: str
    url: str
    status: int | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Whether the state folder is writable, and the file mode of the generated secrets."""

    is_writable: bool
    secrets_mode: int | None


# Signatures tolerate a skew of five minutes, Pinterest of ten. Beat's ticks expire after one.
_SKEW_WARNING_SECONDS = 2.0
_SKEW_SECONDS = 30.0
# Below the first value the collector answers all events with 503, below the second those with the pipeline key.
_LEAST_FREE_BYTES, _LEAST_PUBLIC_BYTES = 256 * 1024**2, 512 * 1024**2
_GOOD_FREE_BYTES = 2 * 1024**3
_SILENT_SECONDS = 60.0
_GOOD_MEMORY_SHARE = 0.8
_GOOD_CERTIFICATE_DAYS = 14


def database_finding(finding: Finding) -> Finding:
    """Add advice to a finding about the database."""
    if finding.state is State.OK:
        return finding
    advice = (
        "Check that the server in DATABASE_URL runs, has this database, takes writes, and accepts connections from "
        "this machine."
    )
    return replace(finding, message=f"{finding.message} {advice}")


# With any other finding the server runs, and its cause is stated.
_UNREACHABLE = ("The broker does not answer", "The broker's certificate")


def broker_finding(finding: Finding, *, embedded: bool) -> Finding:
    """Add advice to a finding about the broker, unless it has its own."""
    if finding.state is State.OK or not finding.message.startswith(_UNREACHABLE):
        return finding
    advice = (
        "It is the embedded broker, which `python -m worker run` starts: start that (again), or set BROKER_URL to "
        "another broker."
        if embedded
        else "Check that the server in BROKER_URL runs, that this machine can reach it, and that BROKER_CA signed its "
        "certificate if it has one."
    )
    return replace(finding, message=f"{finding.message} {advice}")


def encryption_finding(days_left: float | None) -> Finding:
    """Judge an encrypted connection to a broker; without ``days_left`` its certificate was not checked."""
    check = "broker encryption"
    if days_left is None:
        return _failed(
            check,
            "The broker's certificate is not checked, so anyone can pose as it. Remove ssl_cert_reqs from BROKER_URL, "
            "and set BROKER_CA to the authority that signed the certificate.",
        )
    if days_left < _GOOD_CERTIFICATE_DAYS:
        return _degraded(
            check, f"The broker's certificate expires in {count_text(round(days_left), 'day')}: renew it."
        )
    return _ok(check, "The broker's certificate and host name are checked.")


def redis_findings(facts: RedisFacts) -> Iterator[Finding]:
    """Judge a Redis or Valkey server: it must never evict keys, and must be persistent."""
    bounded = facts.maxmemory_bytes > 0
    if facts.is_cluster:
        yield _failed(
            "broker", "It is a Redis Cluster, which Celery cannot use: set BROKER_URL to a single server."
        )
    if facts.is_replica:
        yield _failed("broker", "It is a replica, which takes no writes: set BROKER_URL to its primary.")
    if facts.eviction_policy != "noeviction":
        yield _failed(
            "broker eviction",
            f"maxmemory-policy is {facts.eviction_policy}: the server would delete queues when its memory is full. "
            "Set maxmemory-policy noeviction.",
        )
    else:
        yield _ok("broker eviction", "maxmemory-policy is noeviction: the server deletes nothing.")
    if bounded and facts.used_bytes > _GOOD_MEMORY_SHARE * facts.maxmemory_bytes:
        share = facts.used_bytes / facts.maxmemory_bytes
        yield _degraded(
            "broker memory", f"{share:.0%} of maxmemory is used: raise it, or find out what fills it."
        )
    if facts.strange_exchanges:
        names = ", ".join(facts.strange_exchanges[:3])
        yield _degraded(
            "broker neighbours",
            f"Another application has its queues in the same database ({names}): the shorter of the two visibility "
            "timeouts applies to both. Use a separate database for each application.",
        )
    yield _persistence(facts)
    yield clock_finding("broker clock", "the broker's", facts.time_skew_seconds)


def _persistence(facts: RedisFacts) -> Finding:
    if not facts.append_only:
        return _degraded(
            "broker persistence",
            "The append-only file is off: a restart loses every message, and their events are delayed until the "
            "sweeper publishes them again. Set appendonly yes.",
        )
    if facts.append_only_failing:
        return _failed(
            "broker persistence", "The append-only file cannot be written: check the broker's disk."
        )
    return _ok("broker persistence", "The append-only file is on.")


def rabbit_findings(facts: RabbitFacts, queues: Collection[str]) -> Iterator[Finding]:
    """Judge a RabbitMQ server: it must replicate queues and confirm publishing."""
    if not facts.confirms:
        yield _failed(
            "broker confirms", "The server does not confirm published messages: use RabbitMQ 3.10 or newer."
        )
    else:
        yield _ok("broker confirms", f"RabbitMQ {facts.version} confirms published messages.")
    wrong = sorted(name for name, is_quorum in facts.queues.items() if not is_quorum)
    missing = sorted(set(queues) - facts.queues.keys())
    if wrong:
        yield _failed(
            "broker queues",
            f"Not a durable quorum queue: {', '.join(wrong)}. Stop the workers, delete the queue (no event is lost: "
            "the ledger has all of them), and start the workers again.",
        )
    elif missing:
        yield _degraded(
            "broker queues", f"Missing queues: {', '.join(missing)}. The first worker creates them."
        )
    else:
        yield _ok("broker queues", "Every queue is a durable quorum queue.")


def clock_finding(check: str, owner: str, skew_seconds: float) -> Finding:
    """Judge the difference between another clock and this machine's; positive if the other is ahead."""
    off = abs(skew_seconds)
    direction = "ahead of" if skew_seconds > 0 else "behind"
    words = f"{owner.capitalize()} clock is {off:.1f} s {direction} this machine's"
    if off > _SKEW_SECONDS:
        return _failed(check, f"{words}: ticks and signatures would expire. Run an NTP client on both.")
    if off > _SKEW_WARNING_SECONDS:
        return _degraded(check, f"{words}. Run an NTP client on both.")
    return _ok(check, f"{owner.capitalize()} clock and this machine's agree.")


def disk_finding(free_bytes: int) -> Finding:
    """Judge the free space on the disk of the state folder."""
    words = f"The disk of the state folder has {free_bytes / 1024**2:,.0f} MB left"
    if free_bytes < _LEAST_PUBLIC_BYTES:
        refused = "all" if free_bytes < _LEAST_FREE_BYTES else "public"
        return _failed(
            "disk", f"{words}: the collector refuses {refused} events with 503. Free disk space now."
        )
    if free_bytes < _GOOD_FREE_BYTES:
        return _degraded(
            "disk",
            f"{words}. Free disk space: below 512 MB the collector refuses public events, below 256 MB all events.",
        )
    return _ok("disk", f"{words}.")


def folder_finding(facts: FileFacts) -> Finding:
    """Judge the state folder."""
    if not facts.is_writable:
        return _failed("state folder", "It is not writable: make the user that runs the workers its owner.")
    if facts.secrets_mode is not None and facts.secrets_mode & 0o077:
        return _failed(
            "state folder",
            f"Other users can read secrets.json (mode {facts.secrets_mode:04o}): set it to 600 with chmod.",
        )
    return _ok("state folder", "It is writable, and only its owner can read its secrets.")


def production_finding(*, is_production: bool, embedded_broker: bool, is_sqlite: bool) -> Finding:
    """Judge whether the settings are those of a production system."""
    if not is_production:
        return _degraded(
            "production",
            "PRODUCTION is not 1: missing keys and tokens are generated, and lost with the state folder.",
        )
    if embedded_broker or is_sqlite:
        local = (("the embedded broker", embedded_broker), ("SQLite", is_sqlite))
        parts = " and ".join(words for words, is_used in local if is_used)
        return _ok("production", f"PRODUCTION is 1. With {parts}, all processes must run on this machine.")
    return _ok("production", "PRODUCTION is 1.")


def sandbox_finding(url: str) -> Finding:
    """Report that events go to a sandbox."""
    return _degraded(
        "pinterest",
        f"Events go to the sandbox at {url}, not to Pinterest: unset PINTEREST_API_URL and ALLOW_SANDBOX to go live.",
    )


def worker_findings(
    listening: Mapping[str, Sequence[str]], queues: Sequence[str], left_over: Mapping[str, int]
) -> Iterator[Finding]:
    """Judge whether each queue has a worker; ``left_over`` has the messages of queues that are not in use any more."""
    for queue in queues:
        names = sorted(listening.get(queue, ()))
        if names:
            yield _ok(f"workers on {queue}", f"{', '.join(names)} listen{'s' * (len(names) == 1)}.")
        else:
            yield _failed(f"workers on {queue}", f"No worker listens: {_worker_to_start(queue)}.")
    in_use = sum(queue.startswith("events") for queue in queues)
    for queue, messages in left_over.items():
        yield _degraded(
            f"messages in {queue}",
            f"{queue} has {count_text(messages, 'message')}, but EVENT_QUEUES is {in_use}. The ingest process empties "
            "it within minutes. If not, start the ingest process and give every process the same EVENT_QUEUES.",
        )


def _worker_to_start(queue: str) -> str:
    process = {"events": "ingest", "delivery": "delivery"}.get(queue.partition("-")[0], "upkeep")
    numbered = ", or name the queue in INGEST_QUEUES" if "-" in queue else ""
    return f"start the {process} process{numbered}"


def last_run_finding(name: str, last: float | None, now: float) -> Finding:
    """Judge the time of a scheduled task's last run (Unix seconds)."""
    check = f"the {name} runs"
    if last is None:
        return _failed(check, "It has never run: start beat and the upkeep worker.")
    age = now - last
    if age > _SILENT_SECONDS:
        return _failed(check, f"It last ran {age:,.0f} s ago: restart beat and the upkeep worker.")
    return _ok(check, "It ran within the last minute, so beat and the upkeep worker are alive.")


def site_finding(facts: SiteFacts) -> Finding:
    """Judge whether one of our own web processes answers."""
    if facts.status == 200:
        return _ok(facts.name, f"{facts.url} answers.")
    status = f"HTTP {facts.status}" if facts.status else facts.trouble
    return _failed(
        facts.name, f"{facts.url} does not answer as expected ({status}): start the {facts.name} process."
    )


def flower_password_finding(facts: SiteFacts) -> Finding:
    """Judge Flower's response to a request without a password."""
    if facts.status == 401:
        return _ok("flower password", "Flower requires a password.")
    if facts.status is None:
        return _degraded(
            "flower password", f"Flower did not answer, so this was not checked ({facts.trouble})."
        )
    if facts.status >= 300:
        return _degraded(
            "flower password", f"Flower answered HTTP {facts.status}, so its password was not checked."
        )
    return _failed(
        "flower password", "Flower requires no password: start it with --conf=worker/web/flower_conf.py."
    )


def token_finding(
    name: str, *, is_good: bool | None, sentence: str, expires_in_seconds: float | None
) -> Finding:
    """Judge an integration's access token; None means that the test gave no result."""
    check = f"token of {name}"
    # Messages of Pinterest or of the network may lack the full stop.
    sentence = f"{sentence.rstrip('. ')}."
    if is_good is False:
        advice = "If the token is the cause, create one in Ads Manager, and set it in the integration."
        return _failed(check, f"{sentence} {advice}")
    if is_good is None:
        return _degraded(check, f"{sentence} Check this machine's connection to Pinterest.")
    if expires_in_seconds is not None and expires_in_seconds < 14 * 86_400:
        days = max(0, int(expires_in_seconds // 86_400))
        return _degraded(
            check, f"{sentence} It expires in {count_text(days, 'day')}: create a new token in Ads Manager."
        )
    return _ok(check, sentence)


def demo_token_finding(name: str) -> Finding:
    """Report the demo's token, which is not a Pinterest token and is not tested."""
    words = "It is the demo's token for the sandbox, so it was not tested. Delete this integration before going live."
    return _degraded(f"token of {name}", words)


def alerts_finding(firing: Sequence[Mapping[str, Any]], unsent: Collection[str] = ()) -> Finding:
    """Judge by the alerts that are firing, and the ways in which alerts could not be sent."""
    if unsent:
        words = f"Alerts could not be sent ({', '.join(unsent)}); the log says why (alert_channel, alert_webhook)."
        return _failed("alerts", f"{words} Correct the settings of alerts, and restart the processes.")
    if not firing:
        return _ok("alerts", "No alert is firing.")
    summaries: dict[str, list[str]] = {}
    for alert in firing[:5]:
        summaries.setdefault(alert["what_to_do"], []).append(alert["summary"])
    return _degraded("alerts", " ".join(" ".join((*texts, advice)) for advice, texts in summaries.items()))


def broken_check_finding(check: str, error: BaseException) -> Finding:
    """Report a check that raised an error; the error's message is left out, as it may contain a password."""
    return _failed(check, f"The check failed ({type(error).__name__}).")


def _ok(check: str, message: str) -> Finding:
    return Finding(check, State.OK, message)


def _degraded(check: str, message: str) -> Finding:
    return Finding(check, State.DEGRADED, message)


def _failed(check: str, message: str) -> Finding:
    return Finding(check, State.FAILED, message)
