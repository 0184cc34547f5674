"""Know where a source's events go, and how they are mapped for each place."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Connection

from worker.ledger import integrations, sources
from worker.ledger.integrations import Integration
from worker.ledger.sources import PUBLIC_VISITORS_PER_DAY, Source
from worker.pinterest.options import Options


@dataclass(frozen=True, slots=True)
class Destination:
    """Hold one integration with its mapping options read."""

    integration: Integration
    source: Source
    options: Options

    @property
    def test(self) -> bool:
        return bool(self.integration.config.get("test_mode", False))

    @property
    def time_zone(self) -> tzinfo:
        """Return where the source's days begin; UTC unless set, or where this machine knows no such zone."""
        return _zone(self.source.options.get("time_zone") or "UTC")


class Destinations:
    """Hold the sources of one bulk with their enabled integrations."""

    def __init__(self, connection: Connection, source_ids: Iterable[str]) -> None:
        self._sources: dict[str, Source] = {}
        self._integrations: dict[str, list[Integration]] = {}
        self._targets: dict[str, list[Destination]] = {}
        for source_id in source_ids:
            source = sources.find(connection, source_id)
            if source is not None:
                self._sources[source_id] = source
                enabled = [one for one in integrations.of_source(connection, source_id) if one.enabled]
                self._integrations[source_id] = enabled

    def of(self, source_id: str) -> list[Destination]:
        """Return where a source's events go; a source that was removed goes nowhere.

        Raises:
            ConfigError: this version cannot read an integration's config, which costs other sources nothing.
        """
        if source_id not in self._targets:
            enabled = self._integrations.get(source_id, [])
            self._targets[source_id] = [
                Destination(one, self._sources[source_id], _options(one)) for one in enabled
            ]
        return self._targets[source_id]

    def debug_until(self, source_id: str) -> float:
        """Return until when what comes in from a source is kept for the live debugger."""
        source = self._sources.get(source_id)
        return source.debug_until if source else 0.0

    def public_visitors_per_day(self, source_id: str) -> int:
        """Return how many visitors the public calls of a source may create in a day."""
        source = self._sources.get(source_id)
        return source.public_visitors_per_day if source else PUBLIC_VISITORS_PER_DAY

    def default_country(self, source_id: str) -> str | None:
        """Return the country that a source's phone numbers are read in."""
        source = self._sources.get(source_id)
        return source.options.get("default_country") if source else None


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _options(integration: Integration) -> Options:
    # The mapping has no use for the token, and the credential has it sealed.
    config = integration.config | {"access_token": "***"}
    return _read_options(json.dumps(config, sort_keys=True), integration.consent_categories)


@lru_cache(maxsize=1024)
def _read_options(config: str, consent_categories: tuple[str, ...]) -> Options:
    # Reading options checks and compiles them; a bulk comes every few milliseconds, a change every few weeks.
    return Options.from_config(json.loads(config), consent_categories)
