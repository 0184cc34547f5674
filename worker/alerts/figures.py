"""What the rules look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Nobody counts further, every half a minute: from here on it is "or more".
MAX_COUNTED_WAITING = 2_000_000
MAX_COUNTED_FAILURES = 20_000


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """Hold how one ad account does; times are in Unix seconds.

    ``waiting`` counts what is pending or in flight, up to `MOST_WAITING`. ``oldest_event_at`` is when the oldest of
    it happened, ``waiting_since`` when it was accepted. ``exhausted`` failed after every retry and waits for
    a hand, of the latest `MOST_FAILURES`. ``paused_class`` is None while events may go.
    """

    ad_account_id: str
    waiting: int = 0
    waiting_since: float | None = None
    oldest_event_at: float | None = None
    delivered_an_hour: int = 0
    exhausted: int = 0
    # Signed events of the last one or two hours whose ids public events with other content had used before.
    contradicted: int = 0
    breaker_open_until: float | None = None
    paused_class: str | None = None
    paused_reason: str = ""


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """Hold when the access token of an enabled integration ends."""

    integration_id: str
    ad_account_id: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """Hold how much of what one source may have in the inbox is used."""

    source_id: str
    events: int
    limit: int
    # Signed and public events have a bound each.
    trust: str = "signed"


@dataclass(frozen=True, slots=True)
class Figures:
    """Hold one look at everything; ``pulses`` is when each part last showed that it is alive."""

    now: float
    accounts: tuple[AccountFigures, ...] = ()
    tokens: tuple[TokenFigures, ...] = ()
    full_sources: tuple[SourceFigures, ...] = ()
    inbox_since: float | None = None
    parked: int = 0
    free_bytes: int | None = None
    pulses: Mapping[str, float] = field(default_factory=dict)
