"""Find the integration that a person names."""

from worker.ledger import integrations
from worker.operations.caller import Caller
from worker.operations.errors import InvalidError


def integration_number(caller: Caller, public_id: str | None, field: str = "integration_id") -> int | None:
    """Return the ledger's number of an integration; None selects all.

    Raises:
        InvalidError: there is no such integration; the error names ``field``.
    """
    if public_id is None:
        return None
    with caller.ledger.read() as connection:
        found = integrations.find(connection, public_id)
    if found is None:
        raise InvalidError(field, f"there is no integration {public_id}")
    return found.number
