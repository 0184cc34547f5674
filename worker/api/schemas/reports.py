"""The shapes of what is only read: books, searches, tallies and match quality."""

from marshmallow import fields

from worker.api import context
from worker.api.fields import Boolean, ListOf, Nested, Shape, Text, Timestamp, between, length
from worker.api.queries import SECONDS_A_DAY, Since, TimestampOrNull, query_flag
from worker.pipeline.upkeep.purging import QUALITY_DAYS

_HOURS_A_WEEK = 168
_HOW = f"90m, 24h, 7d or an ISO 8601 time, within the last {QUALITY_DAYS} days;"


def counts(what: str) -> fields.Dict:
    """Make a field that holds a number under each of some words."""
    return fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": what})


class BookLine(Shape):
    """Compare what was counted when it happened with what is there now."""

    what = Text()
    counted = fields.Integer()
    found = fields.Integer()
    balances = Boolean()


class BooksQuery(Shape):
    """Say whether to count every row, which takes seconds for each million of them."""

    audit = query_flag(metadata={"description": "Count every row as well, and compare."})


class BooksAnswer(Shape):
    """Prove that every accepted event is accounted for."""

    balance = Boolean()
    events = counts("Where the accepted events are.")
    deliveries = counts("Where the deliveries stand, those left out that retention has removed.")
    accounts = fields.Dict(
        keys=fields.String(),
        values=counts("Where they stand."),
        attribute="by_account",
        metadata={"description": "The same for each ad account."},
    )
    removed = fields.Integer(metadata={"description": "Deliveries that retention has removed."})
    lines = ListOf(Nested(BookLine))


class FindQuery(Shape):
    """Say what to find."""

    find = Text(
        required=True,
        validate=length(1, 256),
        metadata={"description": "An order id, an event id or an anonymous id, exactly as it came."},
    )


class DeliveryAnswer(Shape):
    """Show one delivery and its state."""

    id = fields.Integer()
    state = Text(attribute="stands", metadata={"description": "As the books call it.", "example": "pending"})
    ad_account_id = Text()
    integration_id = Text(allow_none=True)
    source_id = Text(allow_none=True)
    event_name = Text()
    source_name = Text()
    event_id = Text()
    event_time = Timestamp()
    accepted_at = Timestamp()
    ended_at = TimestampOrNull()
    reason_class = Text(allow_none=True)
    reason = Text(allow_none=True)
    warning = Text(allow_none=True)
    consent = Text(
        allow_none=True,
        metadata={"description": "The decision about consent. Null: the integration required none."},
    )
    signed = Boolean(
        metadata={"description": "Whether the sender signed it; else it came with the pipeline key."}
    )


class WaitingAnswer(Shape):
    """Show one accepted event that waits to be mapped."""

    received_at = Timestamp()
    name = Text()
    event_id = Text()
    parked_reason = Text(allow_none=True, metadata={"description": "Why it was set aside, where it was."})


class FoundAnswer(Shape):
    """Show what was found."""

    data = ListOf(Nested(DeliveryAnswer))
    has_more = Boolean(metadata={"description": "There are more deliveries than these."})
    waiting = ListOf(Nested(WaitingAnswer))


class StatsQuery(Shape):
    """Choose a stretch of time, and an integration."""

    since = Since(
        load_default=lambda: context.now() - SECONDS_A_DAY,
        metadata={"description": f"{_HOW} 24h if left out."},
    )
    integration_id = Text(validate=length(1, 128))


class EventHour(Shape):
    """Count what became of accepted events in one hour."""

    hour = Timestamp()
    outcomes = counts("accepted, consumed, without_destination, mapped, event_erased.")


class DeliveryHour(Shape):
    """Count what became of an integration's deliveries in one hour."""

    hour = Timestamp()
    integration_id = Text(allow_none=True, metadata={"description": "Null: it was deleted."})
    outcomes = counts("created, delivered, tested, failed, filtered, duplicate and so on.")


class StatsAnswer(Shape):
    """Show what moved, hour by hour; hours in which nothing did are left out."""

    since = Timestamp()
    events = ListOf(Nested(EventHour))
    deliveries = ListOf(Nested(DeliveryHour))


class QualityQuery(StatsQuery):
    """Choose a stretch of time, an integration, and steps of time."""

    since = Since(
        load_default=lambda: context.now() - 7 * SECONDS_A_DAY,
        metadata={"description": f"{_HOW} 7d if left out."},
    )
    step_hours = fields.Integer(
        validate=between(1, _HOURS_A_WEEK),
        error_messages={"invalid": "must be a whole number"},
        metadata={"description": "Also by steps of this many hours; without it one row per name."},
    )


class QualityRow(Shape):
    """Show what came with the events of one name."""

    integration_id = Text(allow_none=True, metadata={"description": "Null: it was deleted."})
    event_name = Text(metadata={"description": "Pinterest's name; empty where there never was one."})
    since = Timestamp(metadata={"description": "Where the step of time begins."})
    events = fields.Integer(metadata={"description": "Valid and invalid ones, duplicates left out."})
    valid = fields.Integer()
    late = fields.Integer(metadata={"description": "Accepted over an hour after they happened."})
    computed = fields.Integer(metadata={"description": "With a value that was worked out from the items."})
    invalid = counts("Events that were not sent, by the class of the reason.")
    shares = fields.Dict(
        keys=fields.String(),
        values=fields.Float(),
        metadata={
            "description": "Identifier → its share of the valid events, 0 to 1; `ip_ua` is the pair.",
            "example": {"em": 0.62, "ip_ua": 1.0},
        },
    )
    advice = ListOf(Text(), metadata={"description": "What to improve, the most useful first; not by steps."})


class QualityAnswer(Shape):
    """Show the match quality by integration and event name."""

    since = Timestamp()
    data = ListOf(Nested(QualityRow))


class _ScoreDetail(Shape):
    """Show a component of Pinterest's score for one event, next to our own share."""

    component = Text(metadata={"example": "hashed_email"})
    event_name = Text()
    coverage = fields.Float(allow_none=True, metadata={"description": "Percent of all senders' events."})
    overlap = fields.Float(allow_none=True, metadata={"description": "Percent shared with the tag."})
    issues = ListOf(ListOf(Text()), metadata={"description": "In Pinterest's words."})
    own = fields.Float(allow_none=True, metadata={"description": "Our share of the valid events, 0 to 1."})
    advice = Text(metadata={"description": "What to change here."})


class _PlatformScore(Shape):
    """Show the newest score of a platform and ingestion source."""

    platform = Text(metadata={"example": "WEB"})
    source = Text(metadata={"example": "CONVERSIONS_API"})
    statuses = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata={"description": "By look-back.", "example": {"1d": "FAIR", "14d": "GOOD"}},
    )
    by_day = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata={"description": "The status of 14 days, by the date of the last 30 days."},
    )
    read_at = Timestamp()
    details = ListOf(Nested(_ScoreDetail))


class _AccountScores(Shape):
    """Show the scores of an ad account. ``problem`` says why they could not be read last."""

    ad_account_id = Text()
    name = Text()
    read_at = TimestampOrNull()
    problem = Text(allow_none=True)
    scores = ListOf(Nested(_PlatformScore))


class ScoresAnswer(Shape):
    """Show Pinterest's Event Quality Scores of the ad accounts that are read."""

    data = ListOf(Nested(_AccountScores))


class _ShareAnswer(Shape):
    """Count events with a problem among all events."""

    n = fields.Integer()
    events = fields.Integer()
    share = fields.Float(metadata={"description": "0 to 1."})


class _NamedShareAnswer(_ShareAnswer):
    """Count events of one of Pinterest's names."""

    event_name = Text()


class _ExampleAnswer(Shape):
    """Show the newest event of one of the shop's names with a problem."""

    event_name = Text()
    delivery_id = fields.Integer(allow_none=True)
    at = Timestamp()
    sentence = Text()
    address = Text(allow_none=True, metadata={"description": "The address it came from, only if private."})


class _DataProblemAnswer(Shape):
    """Show one kind of problem."""

    problem = Text(metadata={"example": "currency_unreadable"})
    title = Text()
    meaning = Text()
    what_to_do = Text()
    spans = fields.Dict(
        keys=fields.String(),
        values=Nested(_ShareAnswer),
        metadata={"description": "24h, 7d and 30d → the share of all events."},
    )
    most_affected = fields.Dict(
        keys=fields.String(),
        values=Nested(_NamedShareAnswer),
        metadata={"description": "By span: the event name with the largest share."},
    )
    examples = ListOf(Nested(_ExampleAnswer), metadata={"description": "The newest first."})


class DataQualityAnswer(Shape):
    """Show the problems in a source's data, the most frequent first."""

    source_id = Text()
    events = counts("Mapped events by span.")
    data = ListOf(Nested(_DataProblemAnswer))
