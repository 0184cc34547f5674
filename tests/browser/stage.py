"""The management pages on a real server, with their ledger in this process and a sandbox."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from tests.integration.services import free_port
from worker.dev.sandbox.server import Sandbox, sandbox_in_thread
from worker.event.received import Received
from worker.ledger import migrate
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.intake.inbox import Accepted
from worker.ledger.setup import sources
from worker.pinterest.client.client import PinterestClient
from worker.pinterest.client.retry_delays import RetryPolicy
from worker.pipeline.delivery.deliver_batch import deliver
from worker.pipeline.delivery.delivery_context import DeliveryContext
from worker.pipeline.delivery.group_pending import BatchingPolicy, claim_due_batches
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.settings import Settings, parse
from worker.web.management import create_app

TOKEN = "the-token-of-the-tests"
ACCOUNT = "549755885175"
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64)"


@dataclass(frozen=True)
class Stage:
    """A management site, with its ledger and sandbox."""

    url: str
    ledger: Ledger
    settings: Settings
    sandbox: Sandbox

    def happen(self, *events: dict[str, Any], source_id: str | None = None, at: float | None = None) -> None:
        """Let a shop's visitors do something, and do everything that the workers do."""
        self.accept(events, source_id, at)
        self.work()

    def accept(
        self, events: Sequence[dict[str, Any]], source_id: str | None = None, at: float | None = None
    ) -> None:
        """Take events as the collector does, map them, and leave them pending."""
        now = at or time.time()
        with self.ledger.read() as connection:
            source_id = source_id or sources.sources_after(connection, 1)[0].id
        rows = [self._row(event, source_id, now) for event in events]
        with self.ledger.write() as connection:
            ids = inbox.accept_events(connection, rows, now)
        ingest(self.ledger, ids)

    def work(self) -> None:
        """Batch and send what is pending, once."""
        client = PinterestClient(self.settings.pinterest_api_url)
        delivery = DeliveryContext(self.ledger, client, RetryPolicy(5, 4.0, 86_400.0), 60.0, lambda ids: None)
        for batch_id in claim_due_batches(self.ledger, BatchingPolicy(0.0), time.time, lambda ids: None):
            deliver(delivery, batch_id)

    def _row(self, event: dict[str, Any], source_id: str, at: float) -> Accepted:
        vault = self.ledger.vault
        event = {"messageId": f"evt_{time.time_ns()}"} | event
        received = Received("browser", at, "203.0.113.50", USER_AGENT, None, "a1b2c3d4-e5f6", "epik_abc123")
        anonymous = event.get("anonymousId")
        return Accepted(
            source_id=source_id,
            anonymous_key=vault.keyed_hash("anonymous", source_id, anonymous) if anonymous else None,
            user_key=None,
            informs=event["type"] == "identify",
            received_at=at,
            body=vault.seal(
                json.dumps({"event": event, "received": received.to_dict()}).encode(), inbox.BODY
            ),
        )


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave the tests' output to the tests."""


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Put up a site over an empty ledger."""
    port = free_port()
    with sandbox_in_thread() as sandbox:
        settings = parse(
            {
                "SIGNAL_VAR": str(folder),
                "ADMIN_TOKEN": TOKEN,
                "ENCRYPTION_KEY": "00" * 32,
                "FLOWER_BASIC_AUTH": "flower:password",
                "FLOWER_COOKIE_SECRET": "cookie",
                "PINTEREST_API_URL": sandbox.url,
                "ALLOW_SANDBOX": "1",
                "PINTEREST_APP_ID": "sandbox",
                "PINTEREST_APP_SECRET": "sandbox",
                "MANAGEMENT_URL": f"http://127.0.0.1:{port}",
            }
        )
        ledger = Ledger(settings.database_url, settings.encryption_keys)
        migrate.migrate(ledger)
        ledger.vault.prepare()
        app = create_app(ledger, settings)
        server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_Quiet)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield Stage(f"http://127.0.0.1:{server.server_port}", ledger, settings, sandbox)
        finally:
            server.shutdown()
            thread.join(5)
            server.server_close()
            ledger.dispose()


def track(name: str, **properties: Any) -> dict[str, Any]:
    """Return what Datafly.js sends for a call of `_df.track`, consent to advertising given."""
    context = {"page": {"url": "https://shop.example.com/p"}, "consent": {"advertising": True}}
    return {"type": "track", "event": name, "properties": properties, "context": context}


def order(order_id: str, total: float = 129.99) -> dict[str, Any]:
    """Return the document's order."""
    products = [
        {"product_id": "SKU-A", "name": "Widget", "price": 49.99, "quantity": 2},
        {"product_id": "SKU-B", "name": "Gadget", "price": 30.01, "quantity": 1},
    ]
    return track("Order Completed", order_id=order_id, total=total, currency="USD", products=products)
