"""Create a shop's integration in the ledger, and events for it."""

import json
from collections.abc import Sequence
from typing import Any

from worker.event.received import Received, Trust
from worker.ledger.database import Ledger
from worker.ledger.delivery import new_deliveries
from worker.ledger.delivery.new_deliveries import PAYLOAD, NewDelivery
from worker.ledger.intake import inbox
from worker.ledger.intake.inbox import Accepted
from worker.ledger.reports import books
from worker.ledger.reports.books import Books
from worker.ledger.schema import State
from worker.ledger.setup import integrations, sources
from worker.ledger.setup.ad_accounts import AccountRateLimit
from worker.ledger.setup.integrations import Integration
from worker.ledger.setup.sources import Source

NOW = 1_750_000_000.0
ACCOUNT = "549765662491"
TOKEN = "pina_the_token_of_the_shop"
RATE = AccountRateLimit(100.0, 200)


def place(
    ledger: Ledger,
    source_id: str = "src_shop",
    ad_account_id: str = ACCOUNT,
    token: str = TOKEN,
    rate: AccountRateLimit = RATE,
    **config: Any,
) -> Integration:
    """Add an integration, and its source if that is missing."""
    with ledger.write() as connection:
        if sources.load_source(connection, source_id) is None:
            source = Source(source_id, "Shop", ("example.com",), NOW, NOW)
            sources.insert_source(connection, ledger.vault, source, f"dk_live_{source_id}", "secret")
        new = Integration(
            id=f"int_{source_id}_{ad_account_id}",
            source_id=source_id,
            vendor="pinterest",
            name="Pinterest",
            enabled=True,
            ad_account_id=ad_account_id,
            config={"ad_account_id": ad_account_id} | config,
            consent_categories=(),
            created_at=NOW,
            updated_at=NOW,
        )
        return integrations.insert_integration(connection, ledger.vault, new, token, rate)


def new(ledger: Ledger, where: Integration, event_id: str, **changes: Any) -> NewDelivery:
    """Return a delivery as ingest creates it."""
    text = json.dumps({"event_id": event_id, "event_name": "checkout"}).encode()
    given: dict[str, Any] = {
        "source_id": where.source_id,
        "integration_id": where.number,
        "ad_account": where.ad_account,
        "test": False,
        "offline": False,
        "event_id": event_id,
        "event_name": "checkout",
        "source_name": "Order Completed",
        "event_time": int(NOW),
        "accepted_at": NOW,
        "state": State.OPEN,
        "payload": ledger.vault.seal(text, PAYLOAD),
        "size_bytes": len(text),
    }
    return NewDelivery(**(given | changes))


def write(ledger: Ledger, wanted: Sequence[NewDelivery], now: float = NOW) -> dict[str, int]:
    """Insert deliveries. Returns how many got each outcome."""
    with ledger.write() as connection:
        return dict(new_deliveries.insert_deliveries(connection, ledger.vault, wanted, now))


def pend(ledger: Ledger, where: Integration, count: int, prefix: str = "e", **changes: Any) -> None:
    """Add pending deliveries."""
    write(ledger, [new(ledger, where, f"{prefix}{number}", **changes) for number in range(count)])


def accept(
    ledger: Ledger,
    events: Sequence[dict[str, Any]],
    *,
    source_id: str = "src_shop",
    received_at: float = NOW,
    channel: str = "server",
    trust: Trust = Trust.PUBLIC,
    **received: Any,
) -> list[int]:
    """Accept events as the collector does. Returns their ids."""
    came = Received(channel=channel, received_at=received_at, **received)
    with_epik = received.get("epik") is not None
    accepted = [
        Accepted(
            source_id=source_id,
            anonymous_key=_key(ledger, "anonymous", source_id, event.get("anonymousId")),
            user_key=_key(ledger, "user", source_id, event.get("userId")),
            informs=event["type"] == "identify" or with_epik,
            received_at=received_at,
            body=ledger.vault.seal(
                json.dumps({"event": event, "received": came.to_dict()}).encode(), inbox.BODY
            ),
            trust=trust,
        )
        for event in events
    ]
    with ledger.write() as connection:
        return inbox.accept_events(connection, accepted, received_at)


def _key(ledger: Ledger, kind: str, source_id: str, visitor_id: str | None) -> bytes | None:
    return None if visitor_id is None else ledger.vault.keyed_hash(kind, source_id, visitor_id)


def close(ledger: Ledger) -> Books:
    """Close the books, which must always balance."""
    with ledger.snapshot() as connection:
        closed, audited = books.balance_books(connection), books.recount_books(connection)
    for one in (closed, audited):
        assert [line for line in one.lines if not line.balances] == []
    # Counting the rows gives the same.
    assert (closed.events, closed.deliveries, closed.by_account, closed.removed) == (
        audited.events,
        audited.deliveries,
        audited.by_account,
        audited.removed,
    )
    return closed


def stand(ledger: Ledger) -> dict[str, int]:
    """Return how many deliveries have each state, after the books were checked."""
    return {state: n for state, n in close(ledger).deliveries.items() if n}
