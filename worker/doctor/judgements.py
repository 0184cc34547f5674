"""Judge what was found out: each finding says what it is, and where something is wrong, what to do."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from worker.ledger.upkeep.alerts import Alert
from worker.monitoring.checks import Finding, State


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """Hold what a Redis or Valkey tells of itself; ``maxmemory_bytes`` is 0 where there is no bound.

    ``strange_exchanges`` are those of other applications in the same database.
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
    """Hold what a RabbitMQ tells: the version, whether it confirms, and the type of our queues.

    ``queues`` names each that is there, and whether it is a durable quorum queue.
    """

    version: str
    confirms: bool
    queues: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """Hold what an address answered; no status means no answer, for a reason in words."""

    name: str
    url: str
    status: int | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Hold who may read the file of the made-up secrets, and whether the state folder can be written to."""

    is_writable: bool
    secrets_mode: int | None


# Signatures allow five minutes and Pinterest ten; ticks of beat expire after one.
_SKEW_WARNING_SECONDS = 2.0
_SKEW_SECONDS = 30.0
# The collector answers 503 below the lesser.
_LEAST_FREE_BYTES = 256 * 1024**2
_GOOD_FREE_BYTES = 2 * 1024**3
_SILENT_SECONDS = 60.0
_GOOD_MEMORY_SHARE = 0.8


def database_finding(found: Finding) -> Finding:
    """Add to what was found of the database what to do."""
    if found.state is State.OK:
        return found
    advice = (
        "See whether the server that DATABASE_URL names runs, has this database, and lets this machine in."
    )
    return replace(found, message=f"{found.message} {advice}")


def broker_finding(found: Finding, *, embedded: bool) -> Finding:
    """Add to what was found of the broker what to do."""
    if found.state is State.OK:
        return found
    advice = (
        "It is the embedded one, which `python -m worker run` starts: run that, or name another in BROKER_URL."
        if embedded
        else "See whether the server that BROKER_URL names runs, and whether this machine may reach it."
    )
    return replace(found, message=f"{found.message} {advice}")


def redis_findings(facts: RedisFacts) -> Iterator[Finding]:
    """Judge a Redis or Valkey: a broker must refuse what it cannot hold, and keep what it has."""
    bounded = facts.maxmemory_bytes > 0
    if facts.is_cluster:
        yield _failed("broker", "It is a Redis Cluster, which Celery cannot use: name a single server.")
    if facts.is_replica:
        yield _failed("broker", "It is a replica, which takes no writes: name its primary.")
    if facts.eviction_policy != "noeviction":
        yield _failed(
            "broker eviction",
            f"maxmemory-policy is {facts.eviction_policy}: a full memory would throw queues away. "
            "Set maxmemory-policy noeviction.",
        )
    else:
        yield _ok("broker eviction", "maxmemory-policy is noeviction: nothing is thrown away.")
    if bounded and facts.used_bytes > _GOOD_MEMORY_SHARE * facts.maxmemory_bytes:
        share = facts.used_bytes / facts.maxmemory_bytes
        yield _degraded("broker memory", f"{share:.0%} of maxmemory is used: raise it, or see what fills it.")
    if facts.strange_exchanges:
        names = ", ".join(facts.strange_exchanges[:3])
        yield _degraded(
            "broker neighbours",
            f"Another application keeps its queues in the same database ({names}): of two visibility timeouts "
            "the shorter one holds for both. Give each a database of its own.",
        )
    yield _persistence(facts)
    yield clock_finding("broker clock", "the broker's", facts.time_skew_seconds)


def _persistence(facts: RedisFacts) -> Finding:
    if not facts.append_only:
        return _degraded(
            "broker persistence",
            "The append-only file is off: a restart forgets every message, and each event then waits for the "
            "sweeper. Set appendonly yes.",
        )
    if facts.append_only_failing:
        return _failed(
            "broker persistence", "The append-only file cannot be written: look at the broker's disk."
        )
    return _ok("broker persistence", "The append-only file is on.")


def rabbit_findings(facts: RabbitFacts, queues: Collection[str]) -> Iterator[Finding]:
    """Judge a RabbitMQ: queues must be replicated, and publishing confirmed."""
    if not facts.confirms:
        yield _failed(
            "broker confirms", "It does not confirm what is published: RabbitMQ 3.10 or newer does."
        )
    else:
        yield _ok("broker confirms", f"RabbitMQ {facts.version} confirms what is published.")
    wrong = sorted(name for name, is_quorum in facts.queues.items() if not is_quorum)
    missing = sorted(set(queues) - facts.queues.keys())
    if wrong:
        yield _failed(
            "broker queues",
            f"Not a durable quorum queue: {', '.join(wrong)}. Stop the workers, delete it (no event is lost: "
            "the ledger has them all), and start them again.",
        )
    elif missing:
        yield _degraded("broker queues", f"Not there yet: {', '.join(missing)}. The first worker makes them.")
    else:
        yield _ok("broker queues", "Every queue is a durable quorum queue.")


def clock_finding(check: str, whose: str, skew_seconds: float) -> Finding:
    """Judge by how much another clock is ahead of this machine's, or behind it."""
    off = abs(skew_seconds)
    direction = "ahead of" if skew_seconds > 0 else "behind"
    words = f"{whose.capitalize()} clock is {off:.1f} s {direction} this machine's"
    if off > _SKEW_SECONDS:
        return _failed(check, f"{words}: ticks and signatures would expire. Run an NTP client on both.")
    if off > _SKEW_WARNING_SECONDS:
        return _degraded(check, f"{words}. Run an NTP client on both.")
    return _ok(check, f"{whose.capitalize()} clock and this machine's agree.")


def disk_finding(free_bytes: int) -> Finding:
    """Judge the room on the disk of the state folder."""
    words = f"The disk of the state folder has {free_bytes / 1024**2:,.0f} MB left"
    if free_bytes < _LEAST_FREE_BYTES:
        return _failed("disk", f"{words}: the collector answers 503. Make room.")
    if free_bytes < _GOOD_FREE_BYTES:
        return _degraded("disk", f"{words}. Make room before the collector has to refuse events at 256 MB.")
    return _ok("disk", f"{words}.")


def folder_finding(facts: FileFacts) -> Finding:
    """Judge the state folder."""
    if not facts.is_writable:
        return _failed(
            "state folder", "It cannot be written to: give it to the user that the workers run as."
        )
    if facts.secrets_mode is not None and facts.secrets_mode & 0o077:
        return _failed(
            "state folder",
            f"secrets.json can be read by others (mode {facts.secrets_mode:04o}): chmod 600 it.",
        )
    return _ok("state folder", "It can be written to, and its secrets are its owner's alone.")


def production_finding(*, is_production: bool, embedded_broker: bool, is_sqlite: bool) -> Finding:
    """Judge whether this is set up to be relied on."""
    if not is_production:
        return _degraded(
            "production",
            "PRODUCTION is not 1: keys and tokens are made up where none is given, and lost with the state folder.",
        )
    if embedded_broker or is_sqlite:
        what = " and ".join(
            words for words, here in (("the embedded broker", embedded_broker), ("SQLite", is_sqlite)) if here
        )
        return _ok("production", f"PRODUCTION is 1. With {what}, everything has to run on this one machine.")
    return _ok("production", "PRODUCTION is 1.")


def worker_findings(listening: Mapping[str, Sequence[str]], queues: Sequence[str]) -> Iterator[Finding]:
    """Judge which workers listen to which queue."""
    for queue in queues:
        names = sorted(listening.get(queue, ()))
        if names:
            yield _ok(f"workers on {queue}", f"{', '.join(names)} listen{'s' * (len(names) == 1)}.")
        else:
            process = {"events": "ingest", "delivery": "delivery"}.get(queue, "upkeep")
            yield _failed(f"workers on {queue}", f"No worker listens: start the {process} process.")


def last_run_finding(name: str, last: float | None, now: float) -> Finding:
    """Judge when a part that beat drives ran last."""
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
    what = f"HTTP {facts.status}" if facts.status else facts.trouble
    return _failed(facts.name, f"{facts.url} does not answer well ({what}): start the {facts.name} process.")


def flower_password_finding(facts: SiteFacts) -> Finding:
    """Judge what Flower answers to somebody without its password."""
    if facts.status == 401:
        return _ok("flower password", "Flower asks strangers for a password.")
    if facts.status is None:
        return _degraded(
            "flower password", f"Whether Flower asks for one is broken_check_finding ({facts.trouble})."
        )
    return _failed(
        "flower password",
        f"Flower lets strangers in (HTTP {facts.status}): start it with --conf=worker/web/flower_conf.py.",
    )


def token_finding(
    name: str, *, is_good: bool | None, sentence: str, expires_in_seconds: float | None
) -> Finding:
    """Judge an integration's access token; None means that nothing could be found out."""
    check = f"token of {name}"
    # What Pinterest or the way to it says may lack its full stop.
    sentence = f"{sentence.rstrip('. ')}."
    if is_good is False:
        return _failed(check, f"{sentence} Give the integration a good token, from Ads Manager.")
    if is_good is None:
        return _degraded(check, f"{sentence} Look at this machine's way out to Pinterest.")
    if expires_in_seconds is not None and expires_in_seconds < 14 * 86_400:
        days = max(0, int(expires_in_seconds // 86_400))
        return _degraded(check, f"{sentence} It ends in {days} days: make a new one in Ads Manager.")
    return _ok(check, sentence)


def demo_token_finding(name: str) -> Finding:
    """Say of the demo's token that it is none of Pinterest's, which need not be asked."""
    words = "It is the demo's, for the sandbox, and was not tried. Delete that integration before going live."
    return _degraded(f"token of {name}", words)


def alerts_finding(firing: Sequence[Alert]) -> Finding:
    """Judge by what was told already."""
    if not firing:
        return _ok("alerts", "Nothing is wrong that would be told.")
    words = " ".join(one.summary for one in firing[:5])
    return _degraded("alerts", f"{words} `GET /v1/admin/alerts` says what to do.")


def broken_check_finding(check: str, error: BaseException) -> Finding:
    """Say that a check could not be made; the error's own words may hold a password."""
    return _failed(check, f"It could not be looked at ({type(error).__name__}).")


def _ok(check: str, message: str) -> Finding:
    return Finding(check, State.OK, message)


def _degraded(check: str, message: str) -> Finding:
    return Finding(check, State.DEGRADED, message)


def _failed(check: str, message: str) -> Finding:
    return Finding(check, State.FAILED, message)
