"""The shapes of an ad account."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from worker.management.fields import Items, Number, Part, Shape, Text, Whole, between, length, one_of
from worker.management.queries import MomentOrNull
from worker.operations.accounts import (
    BREAKER_OPEN,
    HIGHEST_RATE,
    LARGEST_BURST,
    LONGEST_REASON,
    LOWEST_RATE,
    PARTLY_PAUSED,
    PAUSED,
    RUNNING,
    SMALLEST_BURST,
    USUAL_REASON,
)


class CredentialAnswer(Shape):
    """Show one access token's standing, and never the token."""

    id = fields.Integer()
    state = Text(validate=one_of(RUNNING, BREAKER_OPEN, PAUSED))
    paused_at = MomentOrNull()
    paused_by = Text(allow_none=True)
    paused_class = Text(allow_none=True)
    paused_reason = Text(allow_none=True)
    breaker_failures = fields.Integer()
    breaker_open_until = MomentOrNull(metadata={"description": "When one batch probes again."})
    token_expires_at = MomentOrNull(metadata={"description": "As its integration says; null: nobody said."})


class AccountAnswer(Shape):
    """Show an ad account: whether it is sent to, how fast, and what waits."""

    ad_account_id = Text()
    state = Text(validate=one_of(RUNNING, BREAKER_OPEN, PARTLY_PAUSED, PAUSED))
    reason = Text(allow_none=True, metadata={"description": "Why it does not run."})
    rate_limit_rps = fields.Float(metadata={"description": "Requests a second."})
    rate_limit_burst = fields.Integer(metadata={"description": "Requests at once after a rest."})
    pending = fields.Integer(metadata={"description": "Deliveries that wait for a batch."})
    in_flight = fields.Integer(metadata={"description": "Deliveries in batches that are not settled."})
    oldest_waiting_seconds = fields.Float(allow_none=True)
    credentials = Items(Part(CredentialAnswer))


class AccountChange(Shape):
    """Describe what is to change; it holds from the next request to Pinterest on."""

    rate_limit_rps = Number(validate=between(LOWEST_RATE, HIGHEST_RATE))
    rate_limit_burst = Whole(validate=between(SMALLEST_BURST, LARGEST_BURST))

    @validates_schema
    def _says_something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("give rate_limit_rps, rate_limit_burst or both")


class PauseBody(Shape):
    """Say why an ad account is paused."""

    reason = Text(load_default=USUAL_REASON, validate=length(1, LONGEST_REASON))
