"""Show the state of an integration, and test its connection to Pinterest.

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
from worker.operations.setup import connection_test
from worker.operations.setup.connection_test import ConnectionReport
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
    heir: Integration | None


def get_integration_status(caller: Caller, integration_id: str) -> _IntegrationStatus:
    """Return one integration with its state."""
    with caller.ledger.read() as connection:
        found = find_integration(connection, integration_id)
        return _IntegrationStatus(
            found,
            ad_accounts.find_credential(connection, found.credential_id),
            sources.load_source(connection, found.source_id),
            account_status.pending_by_integration(connection).get(found.number),
            ownership.count_unsent(connection, found.number),
            store.other_integration(connection, found),
        )


def check_connection(caller: Caller, integration_id: str, api_url: str) -> ConnectionReport:
    """Send one test event, which Pinterest checks and does not record; takes up to 10 seconds."""
    with caller.ledger.read() as connection:
        found = find_integration(connection, integration_id)
        token = ad_accounts.access_token(connection, caller.ledger.vault, found.credential_id)
        source = sources.load_source(connection, found.source_id)
    domain = next(iter(source.domains), "example.com") if source else "example.com"
    return connection_test.send_test_event(api_url, found.ad_account_id, token, domain, caller.now)
