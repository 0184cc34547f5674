"""What the doctor found out, before it is judged."""

from collections.abc import Mapping
from dataclasses import dataclass


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
