"""How neighbours delay the others, in virtual time: the result depends on the order of work, not on the machine."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.chaos.virtual import Process, VirtualPinterest, World
from tests.conftest import KEY
from tests.ledger.shop import NOW, pend, place
from tests.pipeline.sandbox import answer, trouble
from worker.ledger import migrate
from worker.ledger.database import Ledger
from worker.ledger.schema import BatchStatus, State, batch, delivery
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.ledger.setup.integrations import Integration
from worker.pinterest.client.client import Answer, SendFailure

OTHERS = 98
FAILING, NOISY = "600000000998", "600000000999"
# Each of the other accounts sends one event in this time, the noisy one a hundred.
EVERY_SECONDS = 4
SECONDS = 12
DOWN = replace(answer(500, {"code": 1, "message": "An unexpected error occurred."}), seconds=0.1)
# As long as the deadline of a request allows.
SILENT = replace(trouble(SendFailure.UNKNOWN), seconds=25.0)


@dataclass(frozen=True)
class Neighbour:
    """A neighbour: what it sends, its rate limit, and how Pinterest answers."""

    account: str
    every_turn: int = 0
    backlog: int = 0
    rate: AccountRateLimit = AccountRateLimit(100.0, 200)  # noqa: RUF009 - it is frozen, too
    test: bool = False
    replies: Answer | None = None


NEIGHBOURS = {
    "one always fails, one sends a hundred times as much": [
        Neighbour(FAILING, every_turn=1, replies=DOWN),
        Neighbour(NOISY, every_turn=100),
    ],
    "one has twenty thousand events of an outage": [Neighbour(NOISY, backlog=20_000)],
    "two get no answer to a backlog": [
        Neighbour(account, backlog=600, test=True, replies=SILENT) for account in (FAILING, NOISY)
    ],
    "twenty have a backlog and one request a second": [
        Neighbour(str(700_000_000_000 + n), backlog=300, rate=AccountRateLimit(1.0, 1), test=True)
        for n in range(20)
    ],
}


@pytest.fixture
def run(tmp_path: Path) -> Callable[[list[Neighbour]], list[float]]:
    """Return what runs a world with neighbours, and returns the others' seconds from acceptance to settling."""
    runs = 0

    def run(neighbours: list[Neighbour]) -> list[float]:
        nonlocal runs
        runs += 1
        ledger = Ledger(f"sqlite:///{tmp_path}/{runs}.db", (KEY,))
        migrate.migrate(ledger)
        ledger.vault.prepare()
        try:
            return _live(ledger, neighbours)
        finally:
            ledger.dispose()

    return run


def _live(ledger: Ledger, neighbours: list[Neighbour]) -> list[float]:
    world = World()
    replies = {one.account: one.replies for one in neighbours}
    process = Process(ledger, VirtualPinterest(world, lambda account, _: replies.get(account)), world)
    others = [place(ledger, f"src_{n}", str(600_000_000_000 + n)) for n in range(OTHERS)]
    for n, shop in enumerate(others):
        _send_each_turn(ledger, world, shop, 1, n / OTHERS)
    for n, one in enumerate(neighbours):
        shop = place(ledger, f"src_neighbour{n}", one.account, rate=one.rate)
        pend(ledger, shop, one.backlog, accepted_at=NOW - 3_600, test=one.test, event_time=int(NOW + 3_600))
        _send_each_turn(ledger, world, shop, one.every_turn, 0.5)
    process.start()
    world.live_until(NOW + SECONDS)
    expected = OTHERS * (SECONDS // EVERY_SECONDS)
    for _ in range(60):
        if len(found := _latencies(ledger, others)) == expected:
            return found
        world.live_until(world.now + 1.0)
    raise AssertionError(f"{len(found)} of {expected} events of the others arrived")


def _send_each_turn(ledger: Ledger, world: World, shop: Integration, events: int, phase: float) -> None:
    for turn in range(SECONDS // EVERY_SECONDS if events else 0):
        moment = NOW + EVERY_SECONDS * (turn + phase)
        prefix = f"{shop.ad_account_id}_{turn}_"
        world.at(moment, lambda m=moment, p=prefix: pend(ledger, shop, events, p, accepted_at=m))  # type: ignore[misc]


def _latencies(ledger: Ledger, shops: list[Integration]) -> list[float]:
    wanted = (
        select(batch.c.settled_at - delivery.c.accepted_at)
        .join(batch, batch.c.id == delivery.c.batch_id)
        .where(
            delivery.c.integration_id.in_([shop.number for shop in shops]),
            delivery.c.state == State.OPEN,
            batch.c.status == BatchStatus.SETTLED,
        )
    )
    with ledger.read() as connection:
        return sorted(map(float, connection.scalars(wanted)))


def _p99(seconds: list[float]) -> float:
    return seconds[int(0.99 * len(seconds))]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_neighbours_cost_the_others_less_than_a_tenth(
    run: Callable[[list[Neighbour]], list[float]],
) -> None:
    """From acceptance to settling, the 99th percentile of 98 accounts; the table is printed."""
    alone = run([])
    rows = [("alone", alone)] + [(name, run(neighbours)) for name, neighbours in NEIGHBOURS.items()]
    print("\n| neighbours | median | 99th percentile | growth |\n|---|---|---|---|")
    for name, found in rows:
        growth = _p99(found) / _p99(alone) - 1
        print(
            f"| {name} | {found[len(found) // 2]:.2f} s | {_p99(found):.2f} s | {growth:+.1%} |", flush=True
        )
    for name, found in rows:
        assert _p99(found) < 1.1 * _p99(alone), name
