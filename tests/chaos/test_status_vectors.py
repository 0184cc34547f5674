"""For any statuses in a response, every event is settled exactly once, by its position, or not at all."""

import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.ledger.shop import close, pend, place, stand
from tests.pipeline.sandbox import FakePinterest, Stage, accepted, answer
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches
from worker.ledger.schema import State, delivery
from worker.ledger.setup.integrations import Integration

# One ledger for all examples: each uses event ids of its own.
_SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_numbers = itertools.count()

STATUSES = st.sampled_from(["processed", "failed", "Processed", "FAILED ", "postponed", "", None, 7])
KNOWN = ("processed", "failed")


def _word(status: object) -> str:
    return status.strip().casefold() if isinstance(status, str) else ""


def _listing(statuses: list[object]) -> dict[str, Any]:
    return {"events": [{"status": status, "error_message": "odd"} for status in statuses]}


def _answered(ledger: Ledger, shop: Integration, n: int, *replies: Any) -> tuple[str, Stage]:
    """Send a batch of n events, once; return their prefix and the stage."""
    prefix = f"x{next(_numbers)}_"
    pend(ledger, shop, n, prefix)
    stage = Stage(ledger, FakePinterest(*replies))
    stage.batch()
    stage.deliver(stage.hinted.pop(0))
    return prefix, stage


def _states(ledger: Ledger, prefix: str) -> dict[str, State]:
    wanted = select(delivery.c.event_id, delivery.c.state).where(
        delivery.c.event_id.startswith(prefix, autoescape=True)
    )
    with ledger.read() as connection:
        rows = connection.execute(wanted).all()
    return {row.event_id: State(row.state) for row in rows}


def _shop(ledger: Ledger) -> Integration:
    """Return a separate shop for an example."""
    number = next(_numbers)
    return place(ledger, f"src_{number}", str(800_000_000_000 + number))


@_SETTINGS
@given(statuses=st.lists(STATUSES, min_size=1, max_size=40), http_status=st.sampled_from([200, 422]))
def test_every_event_is_settled_once_by_its_position(
    sqlite_ledger: Ledger, statuses: list[object], http_status: int
) -> None:
    """A list with at least one known status settles all events; those with an unknown status need manual action."""
    if not any(_word(status) in KNOWN for status in statuses):
        statuses = [*statuses[1:], "processed"]
    before = stand(sqlite_ledger)
    body = _listing(statuses) if http_status == 200 else {"code": 1, "details": _listing(statuses)}
    prefix, stage = _answered(
        sqlite_ledger, _shop(sqlite_ledger), len(statuses), answer(http_status, body), accepted
    )
    (sent,) = stage.pinterest.requests
    ends = [State.OPEN if _word(status) == "processed" else State.FAILED for status in statuses]
    wanted = dict(zip(sent, ends, strict=True))
    assert _states(sqlite_ledger, prefix) == wanted
    after = stand(sqlite_ledger)
    failed = sum(state == State.FAILED for state in wanted.values())
    assert after.get("delivered", 0) - before.get("delivered", 0) == len(statuses) - failed
    assert after.get("failed", 0) - before.get("failed", 0) == failed
    # Nothing is left to send.
    assert stage.run() == 0


@_SETTINGS
@given(
    n=st.integers(2, 40),
    statuses=st.lists(STATUSES, max_size=60),
    http_status=st.sampled_from([200, 422]),
)
def test_a_list_of_another_length_settles_none(
    sqlite_ledger: Ledger, n: int, statuses: list[object], http_status: int
) -> None:
    """The statuses cannot be assigned to events: all of them are sent again, and each is settled once."""
    if len(statuses) == n:
        statuses.append("processed")
    before = stand(sqlite_ledger)
    body = _listing(statuses) if http_status == 200 else {"code": 1, "details": _listing(statuses)}
    prefix, stage = _answered(sqlite_ledger, _shop(sqlite_ledger), n, answer(http_status, body), accepted)
    assert stand(sqlite_ledger) == before | {"in_flight": n}
    stage.now += 120.0
    stage.hinted = stage.hinted or _due(stage)
    stage.run()
    everyone = [f"{prefix}{number}" for number in range(n)]
    assert _states(sqlite_ledger, prefix) == dict.fromkeys(everyone, State.OPEN)
    assert close(sqlite_ledger).deliveries["delivered"] == before.get("delivered", 0) + n


def _due(stage: Stage) -> list[int]:
    with stage.ledger.write() as connection:
        return batches.take_due_batches(connection, stage.now, stage.now)
