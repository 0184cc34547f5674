"""What several operations select by and name: integrations, ad accounts and sources."""

from worker.ledger.setup import integrations, sources
from worker.ledger.setup.sources import Source
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
        found = integrations.load_integration(connection, public_id)
    if found is None:
        raise InvalidError(field, f"there is no integration {public_id}")
    return found.number


def account_names(caller: Caller) -> dict[str, str]:
    """Return the name of each ad account by its id, as far as it has one."""
    with caller.ledger.read() as connection:
        return integrations.account_names(connection)


def all_sources(caller: Caller) -> list[Source]:
    """Return every source, ordered by id."""
    with caller.ledger.read() as connection:
        return list(sources.iterate_sources(connection))
