"""Select the deliveries that wait for a batch, so that their index finds them."""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, select

from worker.ledger.schema import IS_PENDING, PENDING_ORDER, delivery, integration

# Deliveries that may share a batch have the same kind: (test, offline).
Kind = tuple[bool, bool]
KINDS: tuple[Kind, ...] = ((False, False), (False, True), (True, False), (True, True))


def is_pending_of(integration_number: Any, test: bool, offline: bool) -> ColumnElement[bool]:
    """Return the condition for pending deliveries of one kind, with exactly the columns of their index."""
    return and_(
        delivery.c.integration_id == integration_number,
        delivery.c.test == test,
        delivery.c.offline == offline,
        IS_PENDING,
    )


def pending_of_each(column: ColumnElement[Any], test: bool, offline: bool) -> Select[Any]:
    """Select a column of the pending deliveries of the outer statement's integration, in order."""
    query = select(column).where(is_pending_of(integration.c.id, test, offline)).correlate(integration)
    return query.order_by(PENDING_ORDER)


def first_pending(column: ColumnElement[Any], test: bool, offline: bool) -> ScalarSelect[Any]:
    """Select a column of that integration's first pending delivery, or NULL."""
    return pending_of_each(column, test, offline).limit(1).scalar_subquery()
