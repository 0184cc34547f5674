"""Say which steps of the setup are done, and which events of each source have come in."""

from collections.abc import Mapping
from typing import NamedTuple

from worker.ledger.delivery import find_deliveries
from worker.ledger.reports import sales_by_day, tallies
from worker.ledger.setup import integrations, sources
from worker.operations.caller import Caller

_SEEN_HOURS = 30 * 24
_NEWEST_DELIVERIES = 1_000
# Pinterest's names of what a shop's pages send, in the order of a visit.
_VISIT = {"page_visit": "page view", "add_to_cart": "cart", "checkout": "order"}


class _Step(NamedTuple):
    """Name a step of the setup, how to do it, and whether it is done."""

    key: str
    name: str
    how: str
    done: bool


def list_steps(caller: Caller) -> list[_Step]:
    """Return the steps of the setup until the first real order, in order."""
    with caller.ledger.snapshot() as connection:
        all_sources = list(sources.iterate_sources(connection))
        seen = tallies.last_seen(connection, _first_hour(caller))
        enabled = [
            integration
            for integration in integrations.iterate_integrations(connection)
            if integration.enabled
        ]
        has_consent = find_deliveries.has_decision_about_consent(connection, _NEWEST_DELIVERIES)
        was_tested = tallies.has_happened(connection, (tallies.TESTED, tallies.DELIVERED))
        has_sold = sales_by_day.has_sold(connection)
    return [
        _Step("source", "Add a source", "A source is a shop that sends events.", bool(all_sources)),
        _Step(
            "domain",
            "Enter its domains",
            "Only pages of these domains may send events.",
            any(source.domains for source in all_sources),
        ),
        _Step(
            "snippet",
            "Put the snippet into the pages",
            "Copy it from the source's page. Then open a page of the shop.",
            any("page_visit" in names for names in seen.values()),
        ),
        _Step(
            "consent",
            "Connect the consent banner",
            "Call _df.consent, or use a consent tool that Datafly.js reads. Then accept the banner once.",
            has_consent,
        ),
        _Step(
            "integration",
            "Add the Pinterest integration",
            "It delivers the events to an ad account.",
            bool(enabled),
        ),
        _Step(
            "test",
            "Send an event in test mode",
            "Turn on the test mode of the integration and open a page; Pinterest checks the event and records nothing.",
            was_tested,
        ),
        _Step("order", "See the first order", "An order of the shop was delivered.", has_sold),
    ]


def show_seen(caller: Caller, source_id: str) -> Mapping[str, float | None]:
    """Return when a page view, a cart and an order of a source last came in, within 30 days; None if none did."""
    with caller.ledger.read() as connection:
        seen = tallies.last_seen(connection, _first_hour(caller)).get(source_id, {})
    return {text: seen.get(name) for name, text in _VISIT.items()}


def _first_hour(caller: Caller) -> int:
    return int(caller.now // tallies.SECONDS_PER_HOUR) - _SEEN_HOURS
