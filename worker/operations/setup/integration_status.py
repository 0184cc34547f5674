"""Show the state of an integration.

NotFoundError is raised for an object that does not exist.
"""

from dataclasses import dataclass

from worker.ledger.delivery import ownership
from worker.ledger.delivery.ownership import UnsentDeliveries
from worker.ledger.reports import account_status
from worker.ledger.reports.account_status import WaitingDeliveries
from worker.ledger.setup import ad_accounts, sources
from worker.ledger.setup import integrations as store
from worker.ledger.setup.ad_accounts import Credential
from worker.ledger.setup.integrations import Integration
from worker.ledger.setup.sources import Source
from worker.operations.caller import Caller
from worker.operations.setup.integrations import find_integration


@dataclass(frozen=True, slots=True)
class _IntegrationStatus:
    """Hold an integration with its source and credential, and what waits for it."""

    integration: Integration
    credential: Credential
    source: Source | None
    waiting: WaitingDeliveries | None
    unsent: UnsentDeliveries
    # Another integration that can send what this one has not delivered yet.
    successor: Integration | None


def get_integration_status(caller: Caller, integration_id: str) -> _IntegrationStatus:
    """Return one integration with its state."""
    with caller.ledger.read() as connection:
        integration = find_integration(connection, integration_id)
        return _IntegrationStatus(
            integration,
            ad_accounts.find_credential(connection, integration.credential_id),
            sources.load_source(connection, integration.source_id),
            account_status.pending_by_integration(connection).get(integration.number),
            ownership.count_unsent(connection, integration.number),
            store.other_integration(connection, integration),
        )
