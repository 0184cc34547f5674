"""What waits for a batch, in the words of every statement that asks for it."""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, select

from worker.ledger.schema import IS_PENDING, PENDING_ORDER, delivery, integration

# What may share a batch is of one kind: a test or not, offline or not.
Kind = tuple[bool, bool]
KINDS: tuple[Kind, ...] = ((False, False), (False, True), (True, False), (True, True))


def is_pending_of(integration_number: Any, test: bool, offline: bool) -> ColumnElement[bool]:
    """Name what waits, of one kind: in exactly the columns of its index, so that nothing but that is read."""
    return and_(
        delivery.c.integration_id == integration_number,
        delivery.c.test == test,
        delivery.c.offline == offline,
        IS_PENDING,
    )


def pending_of_each(column: ColumnElement[Any], test: bool, offline: bool) -> Select[Any]:
    """Select a column of what waits for the integration that the statement around this one is at, in order."""
    waiting = select(column).where(is_pending_of(integration.c.id, test, offline)).correlate(integration)
    return waiting.order_by(PENDING_ORDER)


def first_pending(column: ColumnElement[Any], test: bool, offline: bool) -> ScalarSelect[Any]:
    """Return a column of the first that waits for that integration, NULL where none does."""
    return pending_of_each(column, test, offline).limit(1).scalar_subquery()
