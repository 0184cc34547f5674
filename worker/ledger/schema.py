"""The ledger's tables."""

from enum import IntEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
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

# SQLite only counts up by itself on a column of type INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")


class State(IntEnum):
    """Where a delivery stands.

    ``OPEN`` follows its batch: pending without one, in flight while that is ready or sending, delivered (or
    tested) once it is settled. Every other state is an end of its own.
    """

    OPEN = 0
    FAILED = 1
    FILTERED = 2
    DUPLICATE = 3
    DROPPED = 4
    DISCARDED = 5
    ERASED = 6


class BatchStatus(IntEnum):
    """Where a batch stands."""

    READY = 0
    SENDING = 1
    SETTLED = 2
    SPLIT = 3


def _partial_index(
    name: str, *columns: Column[Any] | TextClause, where: ColumnElement[bool], unique: bool = False
) -> None:
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


# Every time is in Unix seconds, with a fraction where it is a DOUBLE.

data_key = Table(
    "data_key",
    metadata,
    Column("id", Integer, primary_key=True),
    # "data" for contents, a new one each day; "hash" for keyed hashes, one for ever.
    Column("purpose", Text, nullable=False),
    Column("day", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("purpose", "day"),
)

source = Table(
    "source",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("domains", JSON, nullable=False),
    Column("server_secret", LargeBinary, nullable=False),
    Column("options", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    # Until then what comes in is kept for the live debugger.
    Column("debug_until", Double, nullable=False, server_default=text("0")),
)

# What came in from a source while it was being debugged: sealed, few, and for a short time.
debug_input = Table(
    "debug_input",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("source_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("forget_at", Double, nullable=False),
    # The event, how it was received, and each decision about it.
    Column("body", LargeBinary, nullable=False),
    # Keyed hashes, for an erasure.
    Column("anonymous_key", LargeBinary),
    Column("user_key", LargeBinary),
    # A `Trust`: signed and public inputs are kept apart, so that neither pushes the other out.
    Column("trust", SmallInteger, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
)
Index("ix_debug_input_source", debug_input.c.source_id, debug_input.c.id)
Index("ix_debug_input_event_id", debug_input.c.event_id)

# What the quotas of a source count, per day. Appended to by transactions, folded by upkeep: no row is hot.
source_usage = Table(
    "source_usage",
    metadata,
    Column("id", BigId, primary_key=True),
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
    # A key that was rotated stays good until then, for pages that are still open or cached.
    Column("expires_at", Double),
)

ad_account = Table(
    "ad_account",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ad_account_id", Text, nullable=False, unique=True),
    Column("rate_limit_rps", Double, nullable=False),
    Column("rate_limit_burst", Integer, nullable=False),
    # The theoretical arrival time of the generic cell rate algorithm: the whole bucket in one number.
    Column("arrival_at", Double, nullable=False, server_default=text("0")),
    # How many requests went in a minute (counted since 1970) and in the one before, to show beside the limit.
    Column("rate_minute", Integer, nullable=False, server_default=text("0")),
    Column("rate_requests", Integer, nullable=False, server_default=text("0")),
    Column("rate_requests_before", Integer, nullable=False, server_default=text("0")),
)

credential = Table(
    "credential",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ad_account", Integer, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("token", LargeBinary, nullable=False),
    Column("paused_at", Double),
    Column("paused_by", Text),
    Column("paused_class", Text),
    Column("paused_reason", Text),
    # The breaker: closed without open_until, open until then, after that probing with one batch at a time.
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
    # Without the access token: that one is sealed in the credential.
    Column("config", JSON, nullable=False),
    Column("consent_categories", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    UniqueConstraint("source_id", "vendor", "ad_account"),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("source_id", Text, nullable=False),
    # Keyed hashes of the anonymous id and of the user id.
    Column("anonymous_key", LargeBinary),
    Column("user_key", LargeBinary),
    # True where the event tells something about its visitor that later events must know.
    Column("informs", Boolean, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # Why a row cannot be worked on; such a row waits for a hand and is not hinted at again.
    Column("parked_reason", Text),
    # A `Trust`: whether the sender signed the event.
    Column("trust", SmallInteger, nullable=False, server_default=text("0")),
    # An id that is used twice would let a late message work on another event.
    sqlite_autoincrement=True,
)
_partial_index("ix_inbox_informs_anonymous", inbox.c.anonymous_key, where=inbox.c.informs)
_partial_index("ix_inbox_informs_user", inbox.c.user_key, where=inbox.c.informs)
# The oldest waiting rows of each source, signed and public apart. By the time of receipt, because a planner that may
# choose goes through the primary key in search of the few rows of one source.
_partial_index(
    "ix_inbox_turns",
    inbox.c.source_id,
    inbox.c.trust,
    inbox.c.received_at,
    where=inbox.c.parked_reason.is_(None),
)
# In a statement SQLAlchemy says "informs = 1" to SQLite, which then does not see that the indexes are meant.
IS_INFORMING = text("inbox.informs")

# Keyed hashes of the signatures of accepted requests: each signed request is accepted once.
signed_request = Table(
    "signed_request",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    # The signature is out of its time window by then.
    Column("forget_at", Double, nullable=False, index=True),
)

visitor = Table(
    "visitor",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    # Counts up with every write, so that two writers cannot overwrite each other unseen.
    Column("version", Integer, nullable=False),
    Column("updated_at", Double, nullable=False, index=True),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("integration_id", Integer, nullable=False),
    Column("ad_account", Integer, nullable=False),
    Column("test", Boolean, nullable=False),
    Column("offline", Boolean, nullable=False),
    Column("event_id", Text, nullable=False),
    # Pinterest's name; empty where the event never got one.
    Column("event_name", Text, nullable=False),
    # The name that the shop gave.
    Column("source_name", Text, nullable=False),
    Column("event_time", BigInteger, nullable=False),
    Column("accepted_at", Double, nullable=False),
    # The sealed JSON text as it will be sent; absent where nothing may be kept.
    Column("payload", LargeBinary),
    Column("size_bytes", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("batch_id", BigInteger),
    Column("reason_class", Text),
    Column("reason", Text),
    Column("warning", Text),
    Column("ended_at", Double),
    # Keyed hashes, to find what belongs to an order or to a visitor without keeping either in clear.
    Column("order_key", LargeBinary),
    Column("anonymous_key", LargeBinary),
    # Without an index: only an erasure asks for it, and that reads every row anyway.
    Column("user_key", LargeBinary),
    # What a sale adds to the books of its day, once it is delivered: days since 1970 where its source is.
    Column("day", Integer),
    Column("currency", Text),
    Column("value_thousandths", BigInteger),
    # A `Trust`: whether the sender signed the event.
    Column("trust", SmallInteger, nullable=False, server_default=text("0")),
    # Keyed hash of order id, currency and value: tells whether two copies of an event claim the same.
    Column("content_key", LargeBinary),
    sqlite_autoincrement=True,
)
_is_open = delivery.c.state == State.OPEN.value
IS_PENDING = _is_open & delivery.c.batch_id.is_(None)
# The order of coming, in words that only the index of what waits has. By the plain id PostgreSQL would go through
# the whole history, since it takes what waits to be spread over it, where all of it stands at the end.
PENDING_ORDER: ColumnElement[int] = literal_column("delivery.id + 0", BigInteger)
# `_is_open` and `IS_PENDING` in words that no index has, for statements that find their rows by something else: where
# a partial index fits, PostgreSQL would, by what it counted before an outage, look for one row among all that wait.
IS_OPEN_UNINDEXED = (delivery.c.state + 0) == State.OPEN.value
IS_PENDING_UNINDEXED = IS_OPEN_UNINDEXED & delivery.c.batch_id.is_(None)
_is_failed = delivery.c.state == State.FAILED.value
# Promise: at most one copy of an event is pending or sent. What failed or was filtered holds no key.
# The event id comes first, for the same index to find an event: each one more has a random place for every
# event, which costs a page to read and a page to write once there are many.
_partial_index(
    "uq_delivery_once",
    delivery.c.event_id,
    delivery.c.event_name,
    delivery.c.ad_account,
    delivery.c.test,
    where=_is_open,
    unique=True,
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
# What ends with its batch has no time of its own.
_partial_index("ix_delivery_ended", delivery.c.ended_at, where=delivery.c.ended_at.is_not(None))
# Only what has a batch: PostgreSQL would else look for what waits among all that never gets one.
_partial_index("ix_delivery_batch", delivery.c.batch_id, where=delivery.c.batch_id.is_not(None))
_partial_index("ix_delivery_order", delivery.c.order_key, where=delivery.c.order_key.is_not(None))

batch = Table(
    "batch",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("ad_account", Integer, nullable=False),
    Column("credential_id", Integer, nullable=False),
    Column("test", Boolean, nullable=False),
    Column("offline", Boolean, nullable=False),
    Column("events", Integer, nullable=False),
    Column("status", SmallInteger, nullable=False),
    # Counts every start. It is the fence: only who holds the current number may settle.
    Column("attempt", Integer, nullable=False),
    # Counts what went wrong and uses up the retries; a 429 or a refused token does not.
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
# The same in a statement, with its numbers spelt out: SQLite finds a partial index by the words of its condition.
IS_LIVE = text(f"batch.status IN ({BatchStatus.READY.value}, {BatchStatus.SENDING.value})")
# And in words that no index has, as above.
IS_READY_UNINDEXED = (batch.c.status + 0) == BatchStatus.READY.value
IS_SENDING_UNINDEXED = (batch.c.status + 0) == BatchStatus.SENDING.value
_partial_index("ix_batch_live", batch.c.credential_id, batch.c.status, where=_is_live)
Index("ix_batch_settled_at", batch.c.settled_at)
_partial_index("ix_batch_parent", batch.c.parent_id, where=batch.c.parent_id.is_not(None))

# One row for each try that did not simply go well.
attempt = Table(
    "attempt",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("batch_id", BigInteger, nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("http_status", Integer),
    Column("reason_class", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

# Appended to by every transaction that moves events, folded by upkeep: no row is hot.
tally = Table(
    "tally",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("hour", Integer, nullable=False, index=True),
    Column("source_id", Text, nullable=False),
    Column("integration_id", Integer, nullable=False),
    Column("event_name", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
)

# What the charts are drawn from: it outlives the events. Minutes for a day, hours after that.
rollup = Table(
    "rollup",
    metadata,
    Column("id", BigId, primary_key=True),
    # The first minute that it is about, since 1970.
    Column("minute", Integer, nullable=False, index=True),
    Column("integration_id", Integer, nullable=False),
    # One of the tallies' outcomes, or a step of time within which deliveries arrived.
    Column("what", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
)

# What was delivered on each day, to be compared with the shop's own books.
sale = Table(
    "sale",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("day", Integer, nullable=False, index=True),
    Column("integration_id", Integer, nullable=False),
    Column("event_name", Text, nullable=False),
    # Empty where the event names none.
    Column("currency", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("value_thousandths", BigInteger, nullable=False),
)

# The same, for what only the metrics show: counts by a label, and the buckets of histograms.
measure = Table(
    "measure",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("name", Text, nullable=False),
    Column("label", Text, nullable=False),
    # A bucket's upper bound, which may be infinite; 0 for what is only counted.
    Column("bound", Double, nullable=False),
    Column("n", BigInteger, nullable=False),
    # The sum of what was observed.
    Column("total", Double, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("changes", JSON, nullable=False),
)

# Who may use the Management API and its pages, beside the holder of ADMIN_TOKEN.
api_token = Table(
    "api_token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    # A keyed hash: the token itself is shown once and kept nowhere.
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
)

ui_session = Table(
    "ui_session",
    metadata,
    # A keyed hash of what the browser's cookie holds.
    Column("hash", LargeBinary, primary_key=True),
    # That of the token it was opened with: a session ends with its token.
    Column("token_hash", LargeBinary, nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)

# Keyed hashes of the lines that `send` took out of files, so that none is taken twice.
taken_line = Table(
    "taken_line",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("taken_at", Double, nullable=False),
)

watermark = Table(
    "watermark",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
)

# Rows of the inbox that a worker has been mapping for longer than usual; nobody else works on them until lease_until.
inbox_lease = Table(
    "inbox_lease",
    metadata,
    # A random id of the run that holds the rows.
    Column("holder", Text, primary_key=True),
    Column("inbox_ids", JSON, nullable=False),
    Column("lease_until", Double, nullable=False),
)

# When each part last showed that it is alive.
heartbeat = Table(
    "heartbeat",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", Double, nullable=False),
)

# What is wrong now; it has been told since fired_at.
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

# What there was to tell, once for each change; not_before is when the webhook is to be told (again).
alert_notice = Table(
    "alert_notice",
    metadata,
    Column("id", BigId, primary_key=True),
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
