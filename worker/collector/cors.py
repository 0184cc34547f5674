"""Let the pages of a source's own domains read the answers."""

from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from worker.collector.remembered import Remembered
from worker.ledger import sources
from worker.ledger.engine import Ledger

REMEMBERED_SECONDS = 5.0
PREFLIGHT_SECONDS = 7_200
_SOURCES_A_PAGE = 500


def is_own(origin: str, domains: Iterable[str]) -> bool:
    """Say whether an Origin header names one of these domains, or a subdomain of one; the port is free."""
    try:
        parts = urlsplit(origin)
        host = parts.hostname
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host:
        return False
    own = {domain.lower() for domain in domains}
    labels = host.split(".")
    return any(".".join(labels[start:]) in own for start in range(len(labels)))


def headers(origin: str) -> dict[str, str]:
    """Return what lets a page of this origin read an answer, cookies included."""
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Retry-After",
    }


def preflight_headers(origin: str) -> dict[str, str]:
    """Return what lets a page of this origin send events."""
    return headers(origin) | {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }


class KnownDomains:
    """Know every source's domains.

    A browser asks beforehand without its Authorization header, so that nobody can tell then which source it
    is about; the event's own answer is readable for that source's domains only.
    """

    def __init__(self, ledger: Ledger, now: Callable[[], float]) -> None:
        self._ledger = ledger
        self._all = Remembered(self._load, REMEMBERED_SECONDS, 1, now)

    def get(self) -> frozenset[str]:
        """Return the domains of all sources, at most `REMEMBERED_SECONDS` old."""
        return self._all.get("") or frozenset()

    def _load(self, last_id: str) -> frozenset[str]:
        found: set[str] = set()
        with self._ledger.read() as connection:
            while page := sources.page(connection, _SOURCES_A_PAGE, last_id):
                found.update(domain for source in page for domain in source.domains)
                last_id = page[-1].id
        return frozenset(found)
