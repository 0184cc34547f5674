"""Show the state of an integration, and test its connection to Pinterest.

NotFoundError is raised for an object that does not exist.
"""

from dataclasses import dataclass

from worker.ledger import accounts, sources, standing
from worker.ledger.accounts import Credential
from worker.ledger.integrations import Integration
from worker.ledger.sources import Source
from worker.ledger.standing import Waiting
from worker.operations.caller import Caller
from worker.operations.integrations import find_integration
from worker.stages import trying
from worker.stages.trying import Report


@dataclass(frozen=True, slots=True)
class IntegrationStatus:
    """Hold an integration with its source and credential, and what waits for it."""

    integration: Integration
    credential: Credential
    source: Source | None
    waiting: Waiting | None
    # Of the whole ad account.
    in_flight: Waiting | None


def get_integration_status(caller: Caller, integration_id: str) -> IntegrationStatus:
    """Return one integration with its state."""
    with caller.ledger.read() as connection:
        found = find_integration(connection, integration_id)
        return IntegrationStatus(
            found,
            accounts.find(connection, found.credential_id),
            sources.find(connection, found.source_id),
            standing.pending(connection).get(found.number),
            standing.in_flight(connection).get(found.ad_account_id),
        )


def try_connection(caller: Caller, integration_id: str, api_url: str) -> Report:
    """Send one test event, which Pinterest checks and does not record; takes up to 10 seconds."""
    with caller.ledger.read() as connection:
        found = find_integration(connection, integration_id)
        token = accounts.token(connection, caller.ledger.vault, found.credential_id)
        source = sources.find(connection, found.source_id)
    domain = next(iter(source.domains), "example.com") if source else "example.com"
    return trying.try_out(api_url, found.ad_account_id, token, domain, caller.now)
