"""Find an order, an event or a visitor, in whatever state."""

from worker.ledger import finding, sources
from worker.ledger.engine import Ledger
from worker.ledger.finding import Found

MOST_FOUND = 200
MOST_SOURCES = 10_000


def search(ledger: Ledger, what: str, limit: int = MOST_FOUND) -> list[Found]:
    """Return the deliveries that an order id, an event id or an anonymous id stands for.

    Only keyed hashes of orders and visitors are kept, so that an id has to be given exactly as it came.
    """
    with ledger.read() as connection:
        known = [source.id for source in sources.page(connection, MOST_SOURCES)]
    order_keys = [ledger.vault.keyed_hash("order", source, what) for source in known]
    visitor_keys = [ledger.vault.keyed_hash("anonymous", source, what) for source in known]
    with ledger.read() as connection:
        return finding.search(
            connection, event_id=what, order_keys=order_keys, visitor_keys=visitor_keys, limit=limit
        )
