"""The rules of a script: which requests fail, and how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.dev.sandbox.http_server import Fault
from worker.dev.sandbox.oauth import AccountScript

FOREVER = 2**53


@dataclass(frozen=True)
class Match:
    """Which requests a rule is for; `skip_first` and `times` count the requests that match otherwise."""

    accounts: frozenset[str] | None = None
    test: bool | None = None
    event_ids: frozenset[str] | None = None
    event_names: frozenset[str] | None = None
    probability: float = 1.0
    times: int = FOREVER
    skip_first: int = 0


@dataclass(frozen=True)
class Status:
    """An answer instead of the usual one; `accepting` records the events first."""

    status: int
    code: int | None = None
    message: str | None = None
    details: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    accepting: bool = False


@dataclass(frozen=True)
class Marks:
    """Which events of a request get a message; `share` draws for each event."""

    positions: frozenset[int]
    event_ids: frozenset[str]
    share: float
    message: str


@dataclass(frozen=True)
class Failing:
    """Events to fail, how the answer says so, and what happens to the list in it."""

    marks: Marks
    answer_as: int | None
    listing: str


@dataclass(frozen=True)
class RateLimit:
    """A token bucket per ad account."""

    per_second: float
    burst: int


@dataclass(frozen=True)
class WireFault:
    """A network fault, after the events were recorded or instead of that; `name` is the key in the script."""

    name: str
    fault: Fault
    accepting: bool


@dataclass(frozen=True)
class Rule:
    """A condition and its actions, of which at most one decides the response."""

    match: Match
    latency_seconds: tuple[float, float] = (0.0, 0.0)
    failing: Failing | None = None
    warning: Marks | None = None
    status: Status | None = None
    wire: WireFault | None = None
    rate_limit: RateLimit | None = None
    require_token: frozenset[str] | None = None


@dataclass(frozen=True)
class Script:
    """A whole script.

    `failed_as` is the status of an answer with failed events. `names` are the events that advertisers
    defined, by ad account. `now_seconds` stops the clock by which the age of events is judged. `account_api` is
    the rest of Pinterest.
    """

    seed: int = 0
    rules: tuple[Rule, ...] = ()
    failed_as: int = 200
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)
    now_seconds: float | None = None
    account_api: AccountScript = field(default_factory=AccountScript)
