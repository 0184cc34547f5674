"""Report the match quality: the identifiers that came with events, and Pinterest's scores of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from worker.ledger.reports import match_quality_counts as quality_store
from worker.ledger.reports.match_quality_counts import Quality
from worker.ledger.reports.tallies import SECONDS_A_DAY, SECONDS_PER_HOUR
from worker.ledger.setup import integrations, pinterest_connections
from worker.ledger.setup.integrations import Integration
from worker.ledger.setup.pinterest_connections import Reading, Score
from worker.operations.caller import Caller
from worker.operations.deliveries.selection import hour_of, integration_number
from worker.operations.reports.match_quality_advice import advise, component_advice

_TREND_DAYS = 30
# The ingestion source that has our events, in Pinterest's words, and which identifiers of ours its components are.
_OURS = "CONVERSIONS_API"
_COMPONENTS = {
    "hashed_email": "em",
    "hashed_maid": "hashed_maids",
    "advertiser_external_id": "external_id",
    "ip_address": "ip_ua",
    "user_agent": "ip_ua",
}


@dataclass(frozen=True, slots=True)
class QualityRow:
    """Hold the match quality of one event name; ``since`` is in Unix seconds. A deleted integration is None."""

    integration: Integration | None
    event_name: str
    since: int
    quality: Quality
    advice: Sequence[str]


@dataclass(frozen=True, slots=True)
class _QualityReport:
    """Hold the match quality since a time in Unix seconds."""

    since: int
    rows: Sequence[QualityRow]


def report_quality(
    caller: Caller, since: float, integration_id: str | None = None, step_hours: int | None = None
) -> _QualityReport:
    """Report which identifiers came with events, by integration and event name, since a time in Unix seconds.

    With ``step_hours`` also by steps of time; there is no advice then.

    Raises:
        InvalidError: the time is too long ago, or there is no such integration.
    """
    number, since_hour = integration_number(caller, integration_id), hour_of(caller, since)
    with caller.ledger.read() as connection:
        qualities = quality_store.quality_since(connection, since_hour, number, step_hours)
        by_id = {row.id: row for row in integrations.iterate_integrations(connection)} if qualities else {}
    rows = [
        QualityRow(
            by_id.get(key.integration_id or ""),
            key.event_name,
            key.from_hour * SECONDS_PER_HOUR,
            quality,
            advise(quality) if step_hours is None else (),
        )
        for key, quality in qualities.items()
    ]
    return _QualityReport(since_hour * SECONDS_PER_HOUR, rows)


@dataclass(frozen=True, slots=True)
class _Checkouts:
    """Hold the match quality of an integration's checkouts, that of the same time before, and the next thing to do."""

    integration: Integration | None
    quality: Quality
    before: Quality
    advice: str

    def change(self, identifier: str) -> float | None:
        """Return by how much a share has changed, from -1 to 1; None without checkouts before."""
        return self.quality.share(identifier) - self.before.share(identifier) if self.before.valid else None


def summarise_checkouts(caller: Caller, since: float, rows: Sequence[QualityRow]) -> list[_Checkouts]:
    """Summarise a quality report since a time in Unix seconds, by integration."""
    hours = int(caller.now // SECONDS_PER_HOUR) - hour_of(caller, since) + 1
    with caller.ledger.read() as connection:
        qualities = quality_store.quality_since(connection, hour_of(caller, since) - hours)
    summaries = []
    for integration_id, group in groupby(rows, key=lambda row: row.integration and row.integration.id):
        of_one = list(group)
        now = sum((row.quality for row in of_one if row.event_name == "checkout"), Quality())
        total = sum(
            (
                quality
                for key, quality in qualities.items()
                if (key.integration_id, key.event_name) == (integration_id, "checkout")
            ),
            Quality(),
        )
        before = Quality(total.valid - now.valid, identifiers=total.identifiers - now.identifiers)
        ordered = sorted(of_one, key=lambda row: (row.event_name != "checkout", -row.quality.events))
        advice = next((f"{row.event_name}: {row.advice[0]}" for row in ordered if row.advice), "")
        summaries.append(_Checkouts(of_one[0].integration, now, before, advice))
    return summaries


@dataclass(frozen=True, slots=True)
class _ScoreDetail:
    """Hold a component of Pinterest's score for one event, next to our own share and what to change here."""

    component: str
    event_name: str
    coverage: float | None
    overlap: float | None
    issues: Sequence[Sequence[str]]
    own: float | None
    advice: str


@dataclass(frozen=True, slots=True)
class _PlatformScore:
    """Hold the newest score of a platform and ingestion source, and its status by day since 1970."""

    platform: str
    source: str
    # Of one day and of 14 days.
    statuses: Mapping[str, str]
    by_day: Mapping[int, str]
    read_at: float
    details: Sequence[_ScoreDetail]


def report_scores(caller: Caller) -> list[tuple[Reading, list[_PlatformScore]]]:
    """Return Pinterest's Event Quality Scores of each connected ad account, with those of the last 30 days."""
    today = int(caller.now // SECONDS_A_DAY)
    with caller.ledger.read() as connection:
        readings, scores = (
            pinterest_connections.readings(connection),
            pinterest_connections.newest_scores(connection),
        )
        statuses = pinterest_connections.statuses_since(connection, today - _TREND_DAYS + 1)
        by_id = {row.id: row for row in integrations.iterate_integrations(connection)} if readings else {}
        shares = quality_store.quality_since(connection, hour_of(caller, caller.now - 14 * SECONDS_A_DAY))
    results = []
    for reading in readings:
        qualities: dict[str, Quality] = defaultdict(Quality)
        of_account = [
            integration for integration in by_id.values() if integration.ad_account == reading.ad_account
        ]
        for key, quality in shares.items():
            if key.integration_id in {integration.id for integration in of_account}:
                qualities[key.event_name] += quality
        is_pinterests = any(
            integration.config.get("field_mapping") == "pinterest" for integration in of_account
        )
        names = _COMPONENTS | {"click_id_epik": "click_id" if is_pinterests else "partner_id"}
        own_scores = [score for score in scores if score.ad_account == reading.ad_account]
        by_day = {key[1:]: days for key, days in statuses.items() if key[0] == reading.ad_account_id}
        results.append((reading, _platforms(own_scores, by_day, qualities, names)))
    return results


def _platforms(
    scores: Sequence[Score],
    by_day: Mapping[tuple[str, str], Mapping[int, str]],
    qualities: Mapping[str, Quality],
    names: Mapping[str, str],
) -> list[_PlatformScore]:
    by_platform: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for score in scores:
        by_platform[score.source_platform, score.ingestion_source].append(score)
    platforms = []
    for key, group in sorted(by_platform.items()):
        # The longer time says more.
        main = max(group, key=lambda score: score.lookback == "14d")
        details = _details(main, qualities if key[1] == _OURS else {}, names)
        statuses = {score.lookback: score.overall_status for score in group}
        platforms.append(_PlatformScore(*key, statuses, by_day.get(key, {}), main.read_at, details))
    return platforms


def _details(score: Score, qualities: Mapping[str, Quality], names: Mapping[str, str]) -> list[_ScoreDetail]:
    return [
        _ScoreDetail(
            component,
            event_name,
            figures["coverage"],
            figures["overlap"],
            figures["issues"],
            qualities[event_name].share(names[component])
            if component in names and event_name in qualities and qualities[event_name].valid
            else None,
            component_advice(component),
        )
        for component, events in sorted(score.components.items())
        for event_name, figures in sorted(events.items())
    ]
