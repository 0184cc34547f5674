"""A hundred ad accounts, one failing and one with a hundred times the traffic: the others are not affected."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import requests
from sqlalchemy import select

from tests.chaos.feeding import event
from tests.integration import stack as stacks
from tests.integration.stack import Plan, Stack
from tests.integration.waiting import until
from tests.ledger.shop import place
from worker.ledger.schema import BatchStatus, State, ad_account, batch, delivery
from worker.ledger.setup import ad_accounts

OTHERS = [str(600_000_000_000 + number) for number in range(98)]
FAILING, NOISY = "600000000998", "600000000999"
SECONDS = 30
# Each of the other accounts sends one event in this time, the noisy one a hundred.
EVERY_SECONDS = 4
BACKGROUND = dict.fromkeys([FAILING, NOISY], 1) | {NOISY: 100}

Latencies = list[float]


def _key(account: str) -> str:
    return f"dk_live_src_{account}"


def _open_shops(stack: Stack) -> None:
    with stack.ledger() as ledger:
        ledger.vault.prepare()
        for account in [*OTHERS, FAILING, NOISY]:
            place(ledger, f"src_{account}", account)


def _post(session: requests.Session, stack: Stack, account: str, name: str, count: int) -> None:
    batch = [event(f"{name}_{account}_{number}", number) for number in range(count)]
    answer = session.post(
        f"{stack.collector_url}/v1/batch",
        json={"batch": batch},
        headers={"Authorization": f"Bearer {_key(account)}"},
        timeout=15,
    )
    assert answer.status_code == 200, answer.text


def _feed(stack: Stack, name: str, background: Mapping[str, int]) -> dict[str, int]:
    """Send for `SECONDS`, evenly; return how many events each account sent."""
    turns: list[tuple[str, int]] = [(account, 1) for account in OTHERS]
    # A quarter of a big sender's events at a time, spread over the others' turns.
    for place_, (account, events) in enumerate(background.items()):
        for quarter in range(4 if events > 1 else 1):
            turns.insert(place_ * 7 + quarter * 25, (account, max(1, events // 4)))
    sent: dict[str, int] = {}
    with requests.Session() as session:
        began = time.monotonic()
        for turn in range(SECONDS // EVERY_SECONDS):
            for number, (account, count) in enumerate(turns):
                due = began + EVERY_SECONDS * (turn + number / len(turns))
                time.sleep(max(0.0, due - time.monotonic()))
                _post(session, stack, account, f"{name}{turn}_{number}", count)
                sent[account] = sent.get(account, 0) + count
    return sent


def _latencies(stack: Stack, accounts_: Sequence[str], name: str) -> Latencies:
    """Return the seconds from acceptance to settling of what was delivered, in order."""
    wanted = (
        select(batch.c.settled_at - delivery.c.accepted_at)
        .join(batch, batch.c.id == delivery.c.batch_id)
        .join(ad_account, ad_account.c.id == delivery.c.ad_account)
        .where(
            delivery.c.event_id.startswith(name, autoescape=True),
            ad_account.c.ad_account_id.in_(accounts_),
            delivery.c.state == State.OPEN,
            batch.c.status == BatchStatus.SETTLED,
        )
    )
    with stack.ledger() as ledger, ledger.read() as connection:
        return sorted(float(seconds) for seconds in connection.scalars(wanted))


def _measure(stack: Stack, name: str, background: Mapping[str, int]) -> Latencies:
    """Feed, and wait until the others' events have arrived, every one of them."""
    sent = _feed(stack, name, background)
    expected = sum(sent[account] for account in OTHERS)
    return until(
        f"the others' {expected} events arrive",
        lambda: found if len(found := _latencies(stack, OTHERS, name)) == expected else None,
        60,
        every=0.5,
    )


def _percentile(sorted_seconds: Latencies, share: float) -> float:
    return sorted_seconds[min(len(sorted_seconds) - 1, int(share * len(sorted_seconds)))]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_failing_and_a_noisy_neighbour_cost_the_others_nothing(tmp_path: Path) -> None:
    """All of the others' events are delivered; the failing account's events are kept and not sent."""
    plan = Plan(environment={"BATCH_INTERVAL": "1"})
    with stacks.running(plan, tmp_path, without=("flower",)) as stack:
        _open_shops(stack)
        stack.sandbox.behave(
            {"rules": [{"account": FAILING, "status": 500}, {"latency_seconds": [0.05, 0.15]}]}
        )
        _measure(stack, "warm", {})
        quiet = _measure(stack, "quiet", {})
        loud = _measure(stack, "loud", BACKGROUND)
        _print(quiet, loud)
        noisy = SECONDS // EVERY_SECONDS * BACKGROUND[NOISY]
        until("the noisy one's arrive", lambda: len(_latencies(stack, [NOISY], "loud")) == noisy, 60)
        with stack.ledger() as ledger, ledger.read() as connection:
            (failing,) = [
                one for one in ad_accounts.used_credentials(connection) if one.ad_account_id == FAILING
            ]
        assert failing.breaker_failures >= 5
        assert failing.breaker_open_until is not None
        assert _kept(stack, FAILING) == SECONDS // EVERY_SECONDS
        assert stack.command("books").returncode == 0


def _kept(stack: Stack, account: str) -> int:
    """Count the events of an account that are pending or wait in a batch."""
    wanted = (
        select(delivery.c.id)
        .join(ad_account, ad_account.c.id == delivery.c.ad_account)
        .outerjoin(batch, batch.c.id == delivery.c.batch_id)
        .where(ad_account.c.ad_account_id == account, delivery.c.state == State.OPEN)
        .where(batch.c.status.is_(None) | (batch.c.status != BatchStatus.SETTLED))
    )
    with stack.ledger() as ledger, ledger.read() as connection:
        return len(connection.execute(wanted).all())


def _print(quiet: Latencies, loud: Latencies) -> None:
    print(
        "\n| accept to delivered, 98 ad accounts | alone | with both neighbours | growth |\n|---|---|---|---|"
    )
    for name, share in (("median", 0.5), ("99th percentile", 0.99)):
        before, after = _percentile(quiet, share), _percentile(loud, share)
        print(f"| {name} | {before:.2f} s | {after:.2f} s | {after / before - 1:+.0%} |")
