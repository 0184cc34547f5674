"""What several operations select by and name: integrations, ad accounts, sources and times."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from worker.ledger.reports.tallies import SECONDS_A_DAY, SECONDS_PER_HOUR
from worker.ledger.setup import integrations, sources
from worker.ledger.setup.sources import Source
from worker.operations.caller import Caller
from worker.operations.errors import InvalidError
from worker.retention import QUALITY_DAYS

FIRST_DAY = date(1970, 1, 1)


def integration_number(caller: Caller, public_id: str | None, field: str = "integration_id") -> int | None:
    """Return the ledger's number of an integration; None selects all.

    Raises:
        InvalidError: there is no such integration; the error names ``field``.
    """
    if public_id is None:
        return None
    with caller.ledger.read() as connection:
        integration = integrations.load_integration(connection, public_id)
    if integration is None:
        raise InvalidError(field, f"there is no integration {public_id}")
    return integration.number


def hour_of(caller: Caller, since: float) -> int:
    """Return the hour since 1970 of a time in Unix seconds from which on a report counts.

    Raises:
        InvalidError: the time is before the first hour that is kept.
    """
    if since < caller.now - QUALITY_DAYS * SECONDS_A_DAY:
        raise InvalidError("since", f"must be within the last {QUALITY_DAYS} days")
    return int(since // SECONDS_PER_HOUR)


def account_names(caller: Caller) -> dict[str, str]:
    """Return the name of each ad account by its id, as far as it has one."""
    with caller.ledger.read() as connection:
        return integrations.account_names(connection)


def time_zones(sources: Iterable[Source], source_id: str | None = None) -> set[str]:
    """Return the time zones of the days of one source, or of all."""
    own_sources = (source for source in sources if source_id in (None, source.id))
    return {source.options.get("time_zone") or "UTC" for source in own_sources} or {"UTC"}


def last_days(caller: Caller, days: int, source_id: str | None = None) -> tuple[int, int]:
    """Return the first and the last of the last days of a source, counted since 1970 in its time zone.

    Of several sources, the days of all of them: a zone that is ahead may have begun the next day already.
    """
    now = datetime.fromtimestamp(caller.now, UTC)
    zones = time_zones(all_sources(caller), source_id)
    todays = [(now.astimezone(ZoneInfo(zone)).date() - FIRST_DAY).days for zone in zones]
    return min(todays) - days + 1, max(todays)


def all_sources(caller: Caller) -> list[Source]:
    """Return every source, ordered by id."""
    with caller.ledger.read() as connection:
        return list(sources.iterate_sources(connection))
