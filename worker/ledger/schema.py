"""Define the ledger's tables."""

from enum import IntEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    literal_column,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class _Bytes(LargeBinary):
    """Bytes as both drivers take and return them, without a copy in between: a bulk has thousands."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> None:
        """Return no conversion for values on their way to the database."""

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        """Return no conversion for values from the database."""


# SQLite only generates ids in a column of type INTEGER.
_BigId = BigInteger().with_variant(Integer, "sqlite")


class State(IntEnum):
    """Name the state of a delivery.

    ``OPEN`` depends on the batch: pending without one, in flight while it is ready or sending, delivered (or tested)
    once it is settled. Every other state is final.
    """

    OPEN = 0
    FAILED = 1
    FILTERED = 2
    DUPLICATE = 3
    DROPPED = 4
    DISCARDED = 5
    ERASED = 6


class BatchStatus(IntEnum):
    """Name the state of a batch."""

    READY = 0
    SENDING = 1
    SETTLED = 2
    SPLIT = 3


class Arrival(IntEnum):
    """Say whether Pinterest may have received a delivery that has not ended as delivered."""

    NO = 0
    # An attempt had no clear answer.
    POSSIBLE = 1
    # As before, and a person has decided to send it again.
    SENT_AGAIN = 2


def _partial_index(
    name: str, *columns: Column[Any] | TextClause, where: ColumnElement[bool], unique: bool = False
) -> None:
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


# Every time is in Unix seconds, with a fraction where it is a DOUBLE.

data_key = Table(
    "data_key",
    metadata,
    Column("id", Integer, primary_key=True),
    # "data" for contents, a new one each day; "hash" for keyed hashes, never replaced.
    Column("purpose", Text, nullable=False),
    Column("day", Integer, nullable=False),
    Column("wrapped", _Bytes, nullable=False),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("purpose", "day"),
)

source = Table(
    "source",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("domains", JSON, nullable=False),
    Column("server_secret", _Bytes, nullable=False),
    Column("options", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    # Inputs are kept for the live debugger until then.
    Column("debug_until", Double, nullable=False, server_default=text("0")),
    Column("webhook_secret", _Bytes),
)

# Inputs of a source that is being debugged: sealed, few, and for a short time.
debug_input = Table(
    "debug_input",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("source_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("forget_at", Double, nullable=False),
    # The event, how it was received, and each decision about it.
    Column("body", _Bytes, nullable=False),
    # Keyed hashes, for an erasure.
    Column("anonymous_key", _Bytes),
    Column("user_key", _Bytes),
    # A `Trust`. Signed and public inputs are kept apart, so that neither displaces the other.
    Column("trust", SmallInteger, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
)
Index("ix_debug_input_source", debug_input.c.source_id, debug_input.c.id)
Index("ix_debug_input_event_id", debug_input.c.event_id)

# Usage of a source's quotas per day. Transactions append, upkeep folds: no row is hot.
source_usage = Table(
    "source_usage",
    metadata,
    Column("id", _BigId, primary_key=True),
    # Days since 1970, UTC.
    Column("day", Integer, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
)
Index("ix_source_usage_day", source_usage.c.day, source_usage.c.source_id)

pipeline_key = Table(
    "pipeline_key",
    metadata,
    Column("key", Text, primary_key=True),
    Column("source_id", Text, nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    # A rotated key stays valid until then, for pages that are still open or cached.
    Column("expires_at", Double),
)

ad_account = Table(
    "ad_account",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ad_account_id", Text, nullable=False, unique=True),
    Column("rate_limit_rps", Double, nullable=False),
    Column("rate_limit_burst", Integer, nullable=False),
    # Theoretical arrival time of the generic cell rate algorithm: the whole bucket in one number.
    Column("arrival_at", Double, nullable=False, server_default=text("0")),
    # Requests in a minute (counted since 1970) and in the one before, shown with the limit.
    Column("rate_minute", Integer, nullable=False, server_default=text("0")),
    Column("rate_requests", Integer, nullable=False, server_default=text("0")),
    Column("rate_requests_before", Integer, nullable=False, server_default=text("0")),
)

credential = Table(
    "credential",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ad_account", Integer, nullable=False),
    Column("fingerprint", _Bytes, nullable=False),
    Column("token", _Bytes, nullable=False),
    Column("paused_at", Double),
    Column("paused_by", Text),
    Column("paused_class", Text),
    Column("paused_reason", Text),
    # Breaker: closed without open_until, open until then, then probing with one batch at a time.
    Column("breaker_failures", Integer, nullable=False, server_default=text("0")),
    Column("breaker_open_until", Double),
    Column("breaker_probe_until", Double),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("ad_account", "fingerprint"),
)

integration = Table(
    "integration",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("public_id", Text, nullable=False, unique=True),
    Column("source_id", Text, nullable=False),
    Column("vendor", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("ad_account", Integer, nullable=False),
    Column("credential_id", Integer, nullable=False, index=True),
    # Without the access token, which is sealed in the credential.
    Column("config", JSON, nullable=False),
    Column("consent_categories", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    UniqueConstraint("source_id", "vendor", "ad_account"),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("source_id", Text, nullable=False),
    # Keyed hashes of the anonymous id and of the user id.
    Column("anonymous_key", _Bytes),
    Column("user_key", _Bytes),
    # True if the event has data about its visitor that later events need.
    Column("informs", Boolean, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("body", _Bytes, nullable=False),
    # Why a row cannot be processed. It needs manual action and gets no more hints.
    Column("parked_reason", Text),
    # Numbers of the integrations that a row is parked for, if the others have it already.
    Column("parked_for", JSON),
    # A `Trust`: whether the sender signed the event.
    Column("trust", SmallInteger, nullable=False, server_default=text("0")),
    # Ids must not be reused: a late message would process another event.
    sqlite_autoincrement=True,
)
_partial_index("ix_inbox_informs_anonymous", inbox.c.anonymous_key, where=inbox.c.informs)
_partial_index("ix_inbox_informs_user", inbox.c.user_key, where=inbox.c.informs)
# The oldest waiting rows of each source and trust. By the time of receipt: by id, the planner may scan the primary
# key for the few rows of one source.
_partial_index(
    "ix_inbox_turns",
    inbox.c.source_id,
    inbox.c.trust,
    inbox.c.received_at,
    where=inbox.c.parked_reason.is_(None),
)
# As text: SQLAlchemy would write "informs = 1", and SQLite would not use the partial indexes.
IS_INFORMING = text("inbox.informs")

# Keyed hashes of the signatures of accepted requests: each signed request is accepted once.
signed_request = Table(
    "signed_request",
    metadata,
    Column("key", _Bytes, primary_key=True),
    # The signature is out of its time window by then.
    Column("forget_at", Double, nullable=False, index=True),
)

# Requests of persons about their data, as proof and to repeat them on a restored copy.
person_request = Table(
    "person_request",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # Keyed hashes of the person's identifiers, in hex.
    Column("keys", JSON, nullable=False),
    Column("counts", JSON, nullable=False),
    sqlite_autoincrement=True,
)

# Persons whose new events are not kept: keyed hashes of their identifiers and of their visitor ids.
suppression = Table(
    "suppression",
    metadata,
    Column("key", _Bytes, primary_key=True),
    Column("since", Double, nullable=False),
    Column("request_id", BigInteger, nullable=False, index=True),
)

visitor = Table(
    "visitor",
    metadata,
    Column("key", _Bytes, primary_key=True),
    Column("body", _Bytes, nullable=False),
    # Incremented by every write, so that no writer overwrites another one's change.
    Column("version", Integer, nullable=False),
    Column("updated_at", Double, nullable=False, index=True),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("integration_id", Integer, nullable=False),
    Column("ad_account", Integer, nullable=False),
    Column("test", Boolean, nullable=False),
    Column("offline", Boolean, nullable=False),
    Column("event_id", Text, nullable=False),
    # Pinterest's name; empty if the event never got one.
    Column("event_name", Text, nullable=False),
    # The shop's name for the event.
    Column("source_name", Text, nullable=False),
    Column("event_time", BigInteger, nullable=False),
    Column("accepted_at", Double, nullable=False),
    # The sealed JSON text as it will be sent; NULL if it must not be stored.
    Column("payload", _Bytes),
    Column("size_bytes", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("batch_id", BigInteger),
    Column("reason_class", Text),
    Column("reason", Text),
    Column("warning", Text),
    Column("ended_at", Double),
    # Keyed hashes, to find deliveries of an order or a visitor without storing either in clear.
    Column("order_key", _Bytes),
    Column("anonymous_key", _Bytes),
    # Without an index: only an erasure needs it, and that reads every row anyway.
    Column("user_key", _Bytes),
    # The delivery's share of the sales report; days since 1970 in its source's time zone.
    Column("day", Integer),
    Column("currency", Text),
    Column("value_thousandths", BigInteger),
    # A `Trust`: whether the sender signed the event.
    Column("trust", SmallInteger, nullable=False, server_default=text("0")),
    # Keyed hash of order id, currency and value: tells whether two copies of an event have the same content.
    Column("content_key", _Bytes),
    # The decision about the person's consent: its form, the categories and the answer; NULL where none was required.
    Column("consent", Text),
    # The fields of the payload's user data that came only from public calls; NULL for none, and for public events.
    Column("public_fields", Text),
    # An `Arrival`: never forgotten, whatever becomes of its batches.
    Column("may_have_arrived", SmallInteger, nullable=False, server_default=text("0")),
    # Keyed hash of source and order id (or user id, lead id, subscription id): what counts once in its ad account.
    Column("business_key", _Bytes),
    sqlite_autoincrement=True,
)
_is_open = delivery.c.state == State.OPEN.value
IS_PENDING = _is_open & delivery.c.batch_id.is_(None)
# The order of arrival, in an expression that only the index of pending deliveries has. By the plain id PostgreSQL
# would scan the whole history, because it expects pending rows everywhere, but they are all at its end.
PENDING_ORDER: ColumnElement[int] = literal_column("delivery.id + 0", BigInteger)
# The same conditions as `_is_open` and `IS_PENDING`, written so that PostgreSQL cannot use the partial indexes. With
# statistics from before an outage, it would search all pending rows for one.
IS_OPEN_UNINDEXED = (delivery.c.state + 0) == State.OPEN.value
IS_PENDING_UNINDEXED = IS_OPEN_UNINDEXED & delivery.c.batch_id.is_(None)
_is_failed = delivery.c.state == State.FAILED.value
# Guarantee: at most one copy of an event is pending or sent. Failed and filtered deliveries hold no key. The event
# id comes first, so that the same index finds events: one more index costs a random page read and write per event
# in a large table.
_partial_index(
    "uq_delivery_once",
    delivery.c.event_id,
    delivery.c.event_name,
    delivery.c.ad_account,
    delivery.c.test,
    where=_is_open,
    unique=True,
)
# The same for orders and the like, whatever their event ids.
_partial_index(
    "uq_delivery_business",
    delivery.c.business_key,
    delivery.c.ad_account,
    delivery.c.test,
    where=_is_open & delivery.c.business_key.is_not(None),
    unique=True,
)
_partial_index(
    "ix_delivery_other_business",
    delivery.c.business_key,
    where=(delivery.c.state != State.OPEN.value) & delivery.c.business_key.is_not(None),
)
_partial_index("ix_delivery_other_event_id", delivery.c.event_id, where=delivery.c.state != State.OPEN.value)
_partial_index(
    "ix_delivery_pending",
    delivery.c.integration_id,
    delivery.c.test,
    delivery.c.offline,
    text("(id + 0)"),
    delivery.c.id,
    where=IS_PENDING,
)
_partial_index("ix_delivery_failed", delivery.c.id, where=_is_failed)
# A delivery that ends with its batch has no time of its own.
_partial_index("ix_delivery_ended", delivery.c.ended_at, where=delivery.c.ended_at.is_not(None))
# Only with a batch: PostgreSQL would otherwise search here for pending deliveries, too.
_partial_index("ix_delivery_batch", delivery.c.batch_id, where=delivery.c.batch_id.is_not(None))
_partial_index("ix_delivery_order", delivery.c.order_key, where=delivery.c.order_key.is_not(None))

# Ids of deliveries that are gone from `delivery`, or have lost their ids there. Only keyed hashes.
remembered_id = Table(
    "remembered_id",
    metadata,
    # Of ad account, test flag, event name and event id, or of a business key.
    Column("key", _Bytes, primary_key=True),
    Column("accepted_at", Double, nullable=False),
    Column("trust", SmallInteger, nullable=False),
    Column("may_have_arrived", Boolean, nullable=False),
    Column("content_key", _Bytes),
    # Days since 1970, UTC: the row is deleted after that day.
    Column("last_day", Integer, nullable=False, index=True),
)

# The ids of orders, of which one order may have several. Only keyed hashes.
order_identity = Table(
    "order_identity",
    metadata,
    # Of a source and an order's number, its id in the shop's system, or the token of its checkout.
    Column("key", _Bytes, primary_key=True),
    # The business key of the order's deliveries.
    Column("business_key", _Bytes, nullable=False),
    # The key of the order's id in the shop's system; NULL as long as no signed report stated that id.
    Column("system_key", _Bytes),
    # Of currency and value.
    Column("amount_key", _Bytes),
    # Days since 1970, UTC: the row is deleted after that day.
    Column("last_day", Integer, nullable=False, index=True),
)

batch = Table(
    "batch",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("ad_account", Integer, nullable=False),
    Column("credential_id", Integer, nullable=False),
    Column("test", Boolean, nullable=False),
    Column("offline", Boolean, nullable=False),
    Column("events", Integer, nullable=False),
    Column("status", SmallInteger, nullable=False),
    # Incremented by every start. It is the fence: only the holder of the current number may settle.
    Column("attempt", Integer, nullable=False),
    # Attempts that count against the retry limit; a 429 or a refused token does not.
    Column("attempts_spent", Integer, nullable=False),
    Column("unreadable_answers", Integer, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("lease_until", Double),
    Column("hinted_at", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("first_tried_at", Double),
    Column("settled_at", Double),
    Column("parent_id", BigInteger),
    sqlite_autoincrement=True,
)
_is_live = batch.c.status.in_([BatchStatus.READY.value, BatchStatus.SENDING.value])
# As literal text: SQLite matches a partial index by the text of its condition.
IS_LIVE = text(f"batch.status IN ({BatchStatus.READY.value}, {BatchStatus.SENDING.value})")
# Without any index, as above.
IS_READY_UNINDEXED = (batch.c.status + 0) == BatchStatus.READY.value
IS_SENDING_UNINDEXED = (batch.c.status + 0) == BatchStatus.SENDING.value
_partial_index("ix_batch_live", batch.c.credential_id, batch.c.status, where=_is_live)
Index("ix_batch_settled_at", batch.c.settled_at)
_partial_index("ix_batch_parent", batch.c.parent_id, where=batch.c.parent_id.is_not(None))

# One row per attempt that was not a plain success.
attempt = Table(
    "attempt",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("batch_id", BigInteger, nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("http_status", Integer),
    Column("reason_class", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

# Transactions append, upkeep folds: no row is hot.
tally = Table(
    "tally",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("hour", Integer, nullable=False, index=True),
    Column("source_id", Text, nullable=False),
    Column("integration_id", Integer, nullable=False),
    Column("event_name", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    # The time of the newest of them.
    Column("last_at", Double),
)
# Counts of events that have no integration yet, and of their problems. As literal text, as above.
COUNTS_EVENTS = text("tally.integration_id = 0")
_partial_index(
    "ix_tally_events", tally.c.source_id, tally.c.hour, where=tally.c.integration_id == literal_column("0")
)

# The newest events with each kind of problem. Transactions append, upkeep removes the older ones: no row is hot.
problem_example = Table(
    "problem_example",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("source_id", Text, nullable=False),
    Column("problem", Text, nullable=False),
    # The shop's name for the event.
    Column("event_name", Text, nullable=False),
    Column("delivery_id", BigInteger),
    Column("at", Double, nullable=False),
    Column("sentence", Text, nullable=False),
    # The address that the event came from, only if it is private: then it is a proxy's.
    Column("address", Text),
)
Index(
    "ix_problem_example_source",
    problem_example.c.source_id,
    problem_example.c.problem,
    problem_example.c.event_name,
)
Index("ix_problem_example_delivery", problem_example.c.delivery_id)

# Data of the charts, which outlives the events. Minutes for a day, hours after that.
rollup = Table(
    "rollup",
    metadata,
    Column("id", _BigId, primary_key=True),
    # Its first minute, since 1970.
    Column("minute", Integer, nullable=False, index=True),
    Column("integration_id", Integer, nullable=False),
    # A tally's outcome, or a latency step.
    Column("what", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
)

# Deliveries per day, to be compared with the shop's own books.
sale = Table(
    "sale",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("day", Integer, nullable=False, index=True),
    Column("integration_id", Integer, nullable=False),
    Column("event_name", Text, nullable=False),
    # Empty if the event has none.
    Column("currency", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("value_thousandths", BigInteger, nullable=False),
)

# The shop's own orders, to compare them with the deliveries.
# What became of the orders of a day, for days that have not changed since the watermark "order days".
order_day = Table(
    "order_day",
    metadata,
    # Days since 1970, each order's in the time zone of its source.
    Column("day", Integer, primary_key=True, autoincrement=False),
    # A hash of which sources were delivered to which ad accounts; with others the row does not count.
    Column("integrations", Text, nullable=False),
    # [source, ad account or null, currency, fate, number of orders, value in thousandths]
    Column("sums", JSON, nullable=False),
    # Source → [order, fate] of each order that an ad account does not have.
    Column("undelivered", JSON, nullable=False),
)

shop_order = Table(
    "shop_order",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("source_id", Text, nullable=False),
    # The keyed hash that the order's deliveries have.
    Column("order_key", _Bytes, nullable=False, unique=True),
    # The order id, to be shown.
    Column("sealed_id", _Bytes, nullable=False),
    Column("ordered_at", Double, nullable=False, index=True),
    # Days since 1970 in the time zone of the source.
    Column("day", Integer, nullable=False),
    Column("currency", Text, nullable=False),
    Column("value_thousandths", BigInteger, nullable=False),
    # The time of the last change.
    Column("recorded_at", Double, nullable=False, index=True),
    sqlite_autoincrement=True,
)

# Counts by label and buckets of histograms, for the metrics alone. Appended and folded like tallies.
measure = Table(
    "measure",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("name", Text, nullable=False),
    Column("label", Text, nullable=False),
    # A bucket's upper bound, which may be infinite; 0 for a count.
    Column("bound", Double, nullable=False),
    Column("n", BigInteger, nullable=False),
    # Sum of the observed values.
    Column("total", Double, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("changes", JSON, nullable=False),
)

# Users of the Management API and its pages, in addition to the holder of ADMIN_TOKEN.
api_token = Table(
    "api_token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    # A keyed hash. The token itself is shown once and not stored.
    Column("hash", _Bytes, nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
)

# People who sign in with a name and a password.
ui_user = Table(
    "ui_user",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    # The name in the form in which two names are the same.
    Column("name_key", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    # Argon2id with its salt and costs, as a PHC string.
    Column("password_hash", Text, nullable=False),
    # Random. Sessions refer to it, so that a new one ends them.
    Column("session_key", _Bytes, nullable=False, unique=True),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("last_used_at", Double),
    Column("expires_at", Double),
)

ui_session = Table(
    "ui_session",
    metadata,
    # A keyed hash of the browser's cookie.
    Column("hash", _Bytes, primary_key=True),
    # Hash of the token, or session key of the user, that opened the session: a session ends with it.
    Column("token_hash", _Bytes, nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)

# A sign-in with Pinterest. Its tokens are sealed, and only read: events have credentials of their own.
pinterest_login = Table(
    "pinterest_login",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("access_token", _Bytes, nullable=False),
    Column("refresh_token", _Bytes, nullable=False),
    Column("scope", Text, nullable=False),
    Column("access_ends_at", Double, nullable=False),
    Column("refresh_ends_at", Double, nullable=False),
    # Incremented by every replacement of the tokens. It is the fence: only the holder of the current number stores.
    Column("version", Integer, nullable=False),
    # When the tokens are to be refreshed; a worker that refreshes them moves it ahead of the others.
    Column("refresh_at", Double, nullable=False),
    # Why the last refresh failed, as a sentence.
    Column("problem", Text),
    Column("connected_at", Double, nullable=False),
    Column("connected_by", Text, nullable=False),
    sqlite_autoincrement=True,
)

# Sign-ins that a person has begun. The key is a keyed hash of the state and of the person's session.
login_state = Table(
    "login_state",
    metadata,
    Column("key", _Bytes, primary_key=True),
    # An integration or a source; empty if neither was chosen yet.
    Column("target", Text, nullable=False),
    Column("ends_at", Double, nullable=False),
)

# By which sign-in an ad account is read, and what Pinterest says about it.
account_reading = Table(
    "account_reading",
    metadata,
    Column("ad_account", Integer, primary_key=True, autoincrement=False),
    Column("login_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("country", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    # When its scores are to be read next.
    Column("due_at", Double, nullable=False),
    Column("read_at", Double),
    Column("problem", Text),
)

# Pinterest's Event Quality Score: the newest of each day.
quality_score = Table(
    "quality_score",
    metadata,
    Column("ad_account", Integer, primary_key=True, autoincrement=False),
    # Days since 1970, UTC.
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("lookback", Text, primary_key=True),
    Column("source_platform", Text, primary_key=True),
    Column("ingestion_source", Text, primary_key=True),
    Column("overall_status", Text, nullable=False),
    # Component, event name, then coverage, overlap and issues.
    Column("components", JSON, nullable=False),
    Column("read_at", Double, nullable=False),
)

# Keyed hashes of the lines that `send` imported from files, so that none is imported twice.
taken_line = Table(
    "taken_line",
    metadata,
    Column("key", _Bytes, primary_key=True),
    Column("taken_at", Double, nullable=False),
)

watermark = Table(
    "watermark",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
)

# Inbox rows that a worker has been mapping for long. No other worker processes them until lease_until.
# What people decided about failed deliveries of one kind; without a row they are open.
failure_group = Table(
    "failure_group",
    metadata,
    Column("ad_account", Integer, primary_key=True, autoincrement=False),
    Column("event_name", Text, primary_key=True),
    Column("reason_class", Text, primary_key=True),
    # A `GroupState` other than open.
    Column("state", Text, nullable=False),
    Column("decided_at", Double, nullable=False),
    Column("decided_by", Text, nullable=False),
)

inbox_lease = Table(
    "inbox_lease",
    metadata,
    # A random id of the run that holds the rows.
    Column("holder", Text, primary_key=True),
    Column("inbox_ids", JSON, nullable=False),
    Column("lease_until", Double, nullable=False),
)

# When each part last reported that it is running.
heartbeat = Table(
    "heartbeat",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", Double, nullable=False),
)

# Current problems. They were reported at fired_at.
alert = Table(
    "alert",
    metadata,
    Column("rule", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("severity", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("since", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("fired_at", Double),
)

# One notice per change. not_before is when the webhook is due (again).
alert_notice = Table(
    "alert_notice",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("at", Double, nullable=False),
    Column("change", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", Double),
    Column("told_at", Double),
    Column("given_up_at", Double),
    sqlite_autoincrement=True,
)
_partial_index("ix_alert_notice_due", alert_notice.c.id, where=alert_notice.c.not_before.is_not(None))
