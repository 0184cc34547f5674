"""Show ad accounts, pause and resume them, and set their rates."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from worker.api import context, pagination
from worker.api.blueprint import Blueprint
from worker.api.fields import Integer, ListOf, Nested, Number, Shape, Text, between, length, one_of_words
from worker.api.pagination import PageQuery, page_of
from worker.api.shared_fields import TimestampOrNull
from worker.operations.setup import accounts
from worker.operations.setup.accounts import (
    BREAKER_OPEN,
    DEFAULT_REASON,
    HIGHEST_RATE,
    LARGEST_BURST,
    LONGEST_REASON,
    LOWEST_RATE,
    PARTLY_PAUSED,
    PAUSED,
    RUNNING,
    SMALLEST_BURST,
    AccountStatus,
)


class _CredentialAnswer(Shape):
    """Show the state of one access token, never the token itself."""

    id = fields.Integer()
    state = Text(validate=one_of_words(RUNNING, BREAKER_OPEN, PAUSED))
    paused_at = TimestampOrNull()
    paused_by = Text(allow_none=True)
    paused_class = Text(allow_none=True)
    paused_reason = Text(allow_none=True)
    breaker_failures = fields.Integer()
    breaker_open_until = TimestampOrNull(metadata={"description": "When one batch probes again."})
    token_expires_at = TimestampOrNull(
        metadata={"description": "From the integration's settings; null if not set."}
    )


class _AccountAnswer(Shape):
    """Show an ad account: its state, its rate and what waits."""

    ad_account_id = Text()
    state = Text(validate=one_of_words(RUNNING, BREAKER_OPEN, PARTLY_PAUSED, PAUSED))
    reason = Text(allow_none=True, metadata={"description": "Why it does not run."})
    rate_limit_rps = fields.Float(metadata={"description": "Requests a second."})
    rate_limit_burst = fields.Integer(metadata={"description": "Burst: requests at once after idle time."})
    pending = fields.Integer(metadata={"description": "Deliveries that wait for a batch."})
    in_flight = fields.Integer(metadata={"description": "Deliveries in batches that are not settled."})
    oldest_waiting_seconds = fields.Float(allow_none=True)
    credentials = ListOf(Nested(_CredentialAnswer))


class _AccountChange(Shape):
    """The values to change. They apply from the next request to Pinterest."""

    rate_limit_rps = Number(validate=between(LOWEST_RATE, HIGHEST_RATE))
    rate_limit_burst = Integer(validate=between(SMALLEST_BURST, LARGEST_BURST))

    @validates_schema
    def _says_something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("give rate_limit_rps, rate_limit_burst or both")


class _PauseBody(Shape):
    """Say why an ad account is paused."""

    reason = Text(load_default=DEFAULT_REASON, validate=length(1, LONGEST_REASON))


blueprint = Blueprint(
    "accounts", __name__, url_prefix="/v1/admin", description="The ad accounts that events are delivered to"
)


@blueprint.route("/accounts")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(_AccountAnswer))
def _get_accounts(query: dict[str, Any]) -> dict[str, Any]:
    """List ad accounts in the order of their ids."""
    after, limit = pagination.text_after(query.get("cursor")), query["limit"]
    accounts_after = [
        account
        for account in accounts.list_accounts(context.request_caller())
        if account.ad_account_id > after
    ]
    return pagination.page_answer(
        accounts_after[: limit + 1], limit, lambda account: account, lambda account: account.ad_account_id
    )


@blueprint.route("/accounts/<ad_account_id>")
@blueprint.response(200, _AccountAnswer)
def _get_account_view(ad_account_id: str) -> AccountStatus:
    """Show an ad account."""
    return accounts.get_account(context.request_caller(), ad_account_id)


@blueprint.route("/accounts/<ad_account_id>", methods=["PATCH"])
@blueprint.arguments(_AccountChange)
@blueprint.response(200, _AccountAnswer)
def _patch_account(body: dict[str, Any], ad_account_id: str) -> AccountStatus:
    """Set the rate of an ad account. Tokens that were used stay used."""
    rps, burst = body.get("rate_limit_rps"), body.get("rate_limit_burst")
    accounts.set_account_rate(context.request_caller(), ad_account_id, rps=rps, burst=burst)
    return accounts.get_account(context.request_caller(), ad_account_id)


@blueprint.route("/accounts/<ad_account_id>/pause", methods=["POST"])
@blueprint.arguments(_PauseBody)
@blueprint.response(200, _AccountAnswer)
def _post_pause(body: dict[str, Any], ad_account_id: str) -> AccountStatus:
    """Stop sending to an ad account; its events are kept and wait."""
    accounts.pause_account(context.request_caller(), ad_account_id, body["reason"])
    return accounts.get_account(context.request_caller(), ad_account_id)


@blueprint.route("/accounts/<ad_account_id>/resume", methods=["POST"])
@blueprint.response(200, _AccountAnswer)
def _post_resume(ad_account_id: str) -> AccountStatus:
    """Send to an ad account again. Waiting events are sent within seconds."""
    accounts.resume_account(context.request_caller(), ad_account_id)
    return accounts.get_account(context.request_caller(), ad_account_id)
