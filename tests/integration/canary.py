"""Personal data and a token that must appear only at Pinterest."""

import json
from typing import Any
from urllib.parse import quote

import requests

from tests.integration.shop import CONSENT, Visitor
from tests.integration.stack import Stack

EMAIL = "kanarie.vogel@example.org"
PHONE = "+49 151 23456789"
TOKEN = "pina_canary_access_token_7f3a"
VISITOR = Visitor(ip="203.0.113.77", user_agent="KanarienBrowser/9.9 (Vogelkaefig)")
TRAITS = {
    "email": EMAIL,
    "phone": PHONE,
    "firstName": "Kanarienfrieda",
    "lastName": "Vogelsanger",
    "city": "Vogelhausen",
    "postalCode": "98765-KV",
    "birthday": "1987-06-05",
    "advertisingId": "cafecafe-1234-4abc-9def-0123456789ab",
}
PERSONAL = (
    *TRAITS.values(),
    "15123456789",
    VISITOR.ip,
    VISITOR.user_agent,
    VISITOR.dfid,
    TOKEN,
    quote(EMAIL),
    "kanarie.vogel",
    "customer-of-the-canary",
    "ORD-canary-4711",
)


def context_of(url: str = "https://example.com/p") -> dict[str, Any]:
    return {"page": {"url": url}, "consent": CONSENT}


def found_in(text: bytes) -> list[str]:
    lowered = text.lower()
    return [word for word in PERSONAL if word.lower().encode() in lowered]


def flower_pages(stack: Stack) -> dict[str, bytes]:
    """Fetch everything that Flower shows of workers, tasks and broker."""
    with requests.Session() as session:
        session.auth = tuple(stack.settings.flower_basic_auth.split(":", 1))  # type: ignore[assignment]

        def page(path: str) -> bytes:
            answer = session.get(f"{stack.flower_url}{path}", timeout=20)
            assert answer.status_code == 200, (path, answer.status_code)
            return answer.content

        tasks = json.loads(page("/api/tasks?limit=2000"))
        workers = json.loads(page("/api/workers?refresh=1"))
        details = [task for task, told in tasks.items() if told["name"] != "tasks.batching.group_pending"]
        paths = ["/", "/workers?json=1", "/tasks", "/broker", "/metrics", "/api/tasks", "/api/queues/length"]
        paths += [f"/worker/{name}" for name in workers] + [f"/task/{task}" for task in details[:40]]
        assert {told["name"] for told in tasks.values()} >= {
            "tasks.ingest.process_event",
            "tasks.delivery.deliver_batch",
        }
        return {path: page(path) for path in paths} | {"tasks": json.dumps(tasks).encode()}


def assert_nothing_is_kept(stack: Stack) -> None:
    """Search logs, all files (also SQLite's), PostgreSQL's tables and the metrics."""
    for file in sorted(stack.var.rglob("*")):
        if file.is_file():
            assert (file.name, []) == (file.name, found_in(file.read_bytes()))
    for name in stack.running:
        assert (name, []) == (name, found_in(stack.log(name).encode()))
    for url in (stack.collector_url, stack.management_url):
        for path in ("/metrics", "/readyz"):
            assert (path, []) == (path, found_in(requests.get(url + path, timeout=15).content))
    _assert_tables_are_sealed(stack)


def _assert_tables_are_sealed(stack: Stack) -> None:
    if stack.plan.database != "postgresql":
        # SQLite's database is one of the files.
        return
    from worker.ledger.schema import metadata

    with stack.ledger() as ledger, ledger.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(table.select()):
                text = b" ".join(_bytes(value) for value in row)
                assert (table.name, []) == (table.name, found_in(text))


def _bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
