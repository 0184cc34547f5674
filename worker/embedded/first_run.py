"""Make the first source and integration, where there is none."""

import secrets
import time

from worker.ledger import integrations, sources
from worker.ledger.accounts import Rate
from worker.ledger.engine import Ledger
from worker.ledger.integrations import Integration
from worker.ledger.sources import Source
from worker.settings import Settings

SOURCE_ID = "src_abc123"
# Pinterest knows no such token.
DEMO_MARK = "sandbox_"
# Another account than the documentation's, so that its own example can still be created beside it.
AD_ACCOUNT_ID = "549755885175"


def ensure(ledger: Ledger, settings: Settings) -> None:
    """Add the demo's source and integration unless they are there."""
    ledger.vault.prepare()
    now = time.time()
    rate = Rate(settings.rate_limit_rps, settings.rate_limit_burst)
    with ledger.write() as connection:
        if sources.find(connection, SOURCE_ID) is not None:
            return
        key, secret = f"dk_test_{secrets.token_hex(12)}", secrets.token_urlsafe(32)
        sources.create(connection, ledger.vault, _source(now), key, secret)
        token = f"{DEMO_MARK}{secrets.token_urlsafe(24)}"
        integrations.create(connection, ledger.vault, _integration(now), token, rate)


def _source(now: float) -> Source:
    return Source(
        id=SOURCE_ID,
        name="Demo shop",
        domains=("example.com", "localhost", "127.0.0.1"),
        created_at=now,
        updated_at=now,
        # The demo talks plain HTTP to this machine, over which browsers send no secure cookie.
        options={"secure_cookies": False, "default_country": "US"},
    )


def _integration(now: float) -> Integration:
    return Integration(
        id=f"int_{secrets.token_hex(8)}",
        source_id=SOURCE_ID,
        vendor="pinterest",
        name="Demo: the sandbox",
        enabled=True,
        ad_account_id=AD_ACCOUNT_ID,
        config={"ad_account_id": AD_ACCOUNT_ID, "field_mapping": "signal"},
        consent_categories=("advertising",),
        created_at=now,
        updated_at=now,
    )
