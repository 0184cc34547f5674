"""List what is wrong, and what was reported lately."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from worker.alerts import rules
from worker.ledger.upkeep import alerts
from worker.ledger.upkeep.alerts import Notice
from worker.operations.caller import Caller

_MOST_RECENT = 50


@dataclass(frozen=True, slots=True)
class Alerts:
    """Hold what is wrong now, each with ``what_to_do``, critical first, and the latest notices, newest first."""

    firing: Sequence[dict[str, Any]]
    recent: Sequence[Notice]


def list_alerts(caller: Caller) -> Alerts:
    """Return what is wrong now, and the latest notices, at one moment."""
    with caller.ledger.snapshot() as connection:
        firing, recent = alerts.firing_alerts(connection), alerts.recent_notices(connection, _MOST_RECENT)
    entries = [asdict(alert) | {"what_to_do": rules.advice(alert.rule)} for alert in firing]
    return Alerts(entries, recent)
