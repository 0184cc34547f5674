"""Kill workers and restart the broker while Pinterest misbehaves, and count what arrives."""

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import counting, misbehaviour, strikes
from tests.chaos.brokers import Broker, EmbeddedValkey, rabbitmq_node
from tests.chaos.counting import Standing
from tests.chaos.feeding import Feeder, event_ids, some
from tests.integration import stack as stacks
from tests.integration.shop import Shop
from tests.integration.stack import Plan, Stack
from tests.integration.waiting import until

SHOPS = 5
BAD_SHARE = 0.01
# The sweeper's next round, a minute later, finds the events that a killed ingest worker held.
DRAIN_SECONDS = 600.0
# The response was unreadable; the sandbox did not fail these.
UNUSABLE_ANSWERS = {"unreadable", "malformed"}

ENVIRONMENT = {
    # A killed worker's batch comes back after 2.4 deadlines.
    "REQUEST_DEADLINE": "3",
    "RETRY_BACKOFF_BASE": "0.2",
}


@dataclass(frozen=True, slots=True)
class Storm:
    """The size of a storm."""

    events: int = 100_000
    kills: int = 16
    broker_restarts: int = 2
    broker: str = "valkey"
    database: str = "sqlite"
    seed: int = 1
    # Duration of sending.
    seconds: float = 250.0


@dataclass(slots=True)
class Result:
    """The result of a storm; ``rows`` is the table."""

    storm: Storm
    killed: Counter[str] = field(default_factory=Counter)
    sandbox: dict[str, Any] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    bad: set[tuple[str, str]] = field(default_factory=set)
    first: Standing | None = None
    last: Standing | None = None
    copies: Counter[tuple[str, str]] = field(default_factory=Counter)
    taken_back: int = 0
    sent_again: int = 0
    slowest_answer_seconds: float = 0.0
    settled_after_seconds: float = 0.0
    books: tuple[bool, bool] = (False, False)

    @property
    def expected(self) -> set[tuple[str, str]]:
        return {(account, event_id) for event_id, account in self.accepted.items()}

    @property
    def repeated(self) -> int:
        return sum(copies > 1 for copies in self.copies.values())

    def rows(self) -> list[tuple[str, str]]:
        """Return the table's rows."""
        storm, n = self.storm, len(self.accepted)
        answers = dict(sorted(self.sandbox["statuses"].items())) | self.sandbox["faults"]
        assert self.first is not None
        assert self.last is not None
        reasons = Counter(self.first.reasons.values())
        return [
            ("stack, seed", f"{storm.broker} + {storm.database}, seed {storm.seed}"),
            ("events accepted", f"{n:,}"),
            ("processes killed (SIGKILL)", _listed({k: v for k, v in self.killed.items() if k != "broker"})),
            ("broker killed and restarted", str(self.killed["broker"])),
            ("requests to the sandbox", f"{self.sandbox['requests']:,}"),
            ("its answers and faults", _listed(answers)),
            ("batches taken back from killed workers", str(self.taken_back)),
            ("refused by the sandbox, so they need manual action", f"{reasons['refused']:,}"),
            ("failed because no answer could be read", f"{reasons.total() - reasons['refused']:,}"),
            ("delivered after one `failed retry --all`", f"{len(self.last.of('delivered')):,}"),
            ("missing", f"{len(self.expected - set(self.copies)):,}"),
            ("received more than once, same event id", f"{self.repeated:,} ({self.repeated / n:.2%})"),
            ("slowest answer of the collector", f"{self.slowest_answer_seconds:.2f} s"),
            ("everything settled after", f"{self.settled_after_seconds:.0f} s"),
            ("books, before and after the manual retry", " and ".join(map(_balance, self.books))),
        ]

    def table(self) -> str:
        """Return the table as Markdown."""
        lines = [f"| {what} | {value} |" for what, value in self.rows()]
        return "\n".join(["| | |", "|---|---|", *lines])

    def check(self) -> None:
        """Fail, saying what is wrong, unless nothing was lost."""
        assert self.first is not None
        assert self.last is not None
        unread = {key for key, reason in self.first.reasons.items() if reason in UNUSABLE_ANSWERS}
        # An unreadable response may also concern a bad event.
        assert self.first.of("failed") - unread == self.bad - unread
        assert self.bad <= self.first.of("failed")
        assert self.first.of("delivered") == self.expected - self.first.of("failed")
        assert self.first.of("delivered") <= set(self.copies)
        assert self.last.of("delivered") == self.expected
        assert set(self.copies) == self.expected
        assert self.books == (True, True)


def blow(storm: Storm, folder: Path) -> Result:
    """Run a storm in a folder, and return its result once everything is settled."""
    with _stack(storm, folder) as (stack, broker):
        shops = [Shop(stack) for _ in range(SHOPS)]
        result = _rage(storm, stack, broker, shops)
        stack.sandbox.behave_well()
        result.books = (_books_balance(stack), False)
        result.first = counting.standing(stack)
        _retry_by_hand(stack, result)
        result.taken_back = counting.taken_back(stack)
        result.copies = counting.copies(stack, (shop.account for shop in shops))
        result.last = counting.standing(stack)
        result.books = (result.books[0], _books_balance(stack))
        return result


@contextmanager
def _stack(storm: Storm, folder: Path) -> Iterator[tuple[Stack, Broker]]:
    environment = dict(ENVIRONMENT)
    # SQLite allows one writer at a time; a second process would only wait.
    ingest_workers = 1 if storm.database == "sqlite" else 2
    if storm.broker == "valkey":
        plan = Plan("valkey", storm.database, ingest_workers, environment)
        with stacks.running(plan, folder, without=("flower",)) as stack:
            yield stack, EmbeddedValkey(stack)
        return
    with rabbitmq_node(folder / "rabbitmq") as node:
        plan = Plan("rabbitmq", storm.database, ingest_workers, environment | {"BROKER_URL": node.url})
        with stacks.running(plan, folder / "var", without=("flower",)) as stack:
            yield stack, node


def _rage(storm: Storm, stack: Stack, broker: Broker, shops: list[Shop]) -> Result:
    result = Result(storm)
    dice = random.Random(f"storm {storm.seed}")
    ids = event_ids(f"storm{storm.seed}", storm.events)
    bad = some(ids, BAD_SHARE, dice)
    stack.sandbox.behave(misbehaviour.script(storm.seed, bad))
    feeder = Feeder(shops, ids, storm.seconds)
    began = time.monotonic()
    feeder.start()
    for strike in strikes.plan(storm.seed, storm.seconds, storm.kills, storm.broker_restarts):
        time.sleep(max(0.0, began + strike.at_seconds - time.monotonic()))
        stack.assert_alive()
        result.killed[strike.kind] += 1
        _strike(stack, broker, strike, dice)
    feeder.join(storm.seconds + DRAIN_SECONDS)
    until("nothing moves any more", lambda: counting.is_settled(stack), DRAIN_SECONDS, every=1.0)
    result.settled_after_seconds = time.monotonic() - began
    result.sandbox = stack.sandbox.received(limit=0)
    result.accepted, result.sent_again = feeder.accepted, feeder.sent_again
    result.slowest_answer_seconds = feeder.slowest_seconds
    result.bad = {(feeder.accepted[event_id], event_id) for event_id in bad}
    return result


def _strike(stack: Stack, broker: Broker, strike: strikes.Strike, dice: random.Random) -> None:
    if strike.kind == strikes.BROKER:
        broker.kill()
        time.sleep(strike.away_seconds)
        broker.start()
        return
    name = dice.choice([name for name in stack.running if name.rstrip("0123456789") == strike.kind])
    stack.kill(name)
    time.sleep(strike.away_seconds)
    stack.start(name)


def _retry_by_hand(stack: Stack, result: Result) -> None:
    assert result.first is not None
    done = stack.command("failed", "retry", "--all")
    assert done.returncode == 0, done.stderr
    until(
        "the deliveries retried by an operator arrive",
        lambda: counting.is_settled(stack),
        DRAIN_SECONDS,
        every=0.5,
    )


def _books_balance(stack: Stack) -> bool:
    done = stack.command("books", "--audit")
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def _balance(balances: bool) -> str:
    return "balance" if balances else "do not balance"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items()) or "none"


def main() -> None:
    """Run one storm, print its table, and fail when anything was lost."""
    usual = Storm()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kill_storm", description=main.__doc__)
    parser.add_argument("--events", type=int, default=usual.events)
    parser.add_argument("--kills", type=int, default=usual.kills)
    parser.add_argument("--broker-restarts", type=int, default=usual.broker_restarts)
    parser.add_argument("--broker", choices=["valkey", "rabbitmq"], default=usual.broker)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default=usual.database)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--seconds", type=float, help="over how long the events are sent (400 a second)")
    chosen = parser.parse_args()
    if chosen.seconds is None:
        chosen.seconds = max(30.0, chosen.events / 400)
    # A short path: a Unix socket's holds at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        result = blow(Storm(**vars(chosen)), Path(folder))
    print(result.table(), flush=True)
    result.check()


if __name__ == "__main__":
    main()
