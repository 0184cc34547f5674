"""The figures that the rules check."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Counting stops here, because it runs every 30 seconds; alerts then say "or more".
MAX_COUNTED_WAITING = 2_000_000
MAX_COUNTED_FAILURES = 20_000


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """Hold the state of one ad account; times are in Unix seconds.

    ``waiting`` counts pending and in-flight events, up to `MAX_COUNTED_WAITING`. ``oldest_event_at`` is when the
    oldest of them happened, ``waiting_since`` when it was accepted. ``exhausted`` counts deliveries among the
    newest `MAX_COUNTED_FAILURES` that failed after every retry. ``paused_class`` is empty without a pause.
    """

    ad_account_id: str
    waiting: int = 0
    waiting_since: float | None = None
    oldest_event_at: float | None = None
    delivered_an_hour: int = 0
    exhausted: int = 0
    # Signed events of the last two hours whose ids public events with other content had used before.
    contradicted: int = 0
    breaker_open_until: float | None = None
    paused_class: str | None = None
    paused_reason: str = ""
    # Since when something could have been sent, and when the last request was.
    due_since: float | None = None
    last_request_at: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """Hold when the access token of an enabled integration expires."""

    integration_id: str
    ad_account_id: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """Hold how much of its backlog limit a source uses."""

    source_id: str
    events: int
    limit: int
    # Signed and public events have separate limits.
    trust: str = "signed"


@dataclass(frozen=True, slots=True)
class Figures:
    """Hold all figures at one time; ``pulses`` has the last heartbeat of each part.

    ``sign_ins`` has why the sign-in of an ad account cannot be refreshed. ``statuses`` has Pinterest's Event Quality
    Score by ad account, platform and ingestion source, then by day.
    """

    now: float
    accounts: tuple[AccountFigures, ...] = ()
    tokens: tuple[TokenFigures, ...] = ()
    full_sources: tuple[SourceFigures, ...] = ()
    inbox_since: float | None = None
    parked: int = 0
    free_bytes: int | None = None
    pulses: Mapping[str, float] = field(default_factory=dict)
    # By host: how many seconds its clock is ahead of the database's.
    skews: Mapping[str, float] = field(default_factory=dict)
    sign_ins: Mapping[str, str] = field(default_factory=dict)
    statuses: Mapping[tuple[str, str, str], Mapping[int, str]] = field(default_factory=dict)
