"""Show ad accounts, pause and resume them, and set their rates."""

from typing import Any

from worker.management import context, lists
from worker.management.account_shapes import AccountAnswer, AccountChange, PauseBody
from worker.management.blueprint import Blueprint
from worker.management.lists import PageQuery, page_of
from worker.operations import accounts
from worker.operations.accounts import AccountStatus

blueprint = Blueprint(
    "accounts", __name__, url_prefix="/v1/admin", description="The ad accounts that events are delivered to"
)


@blueprint.route("/accounts")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(AccountAnswer))
def get_accounts(query: dict[str, Any]) -> dict[str, Any]:
    """List ad accounts in the order of their ids."""
    after, limit = lists.text_after(query.get("cursor")), query["limit"]
    found = [one for one in accounts.list_accounts(context.caller()) if one.ad_account_id > after]
    return lists.answer(found[: limit + 1], limit, lambda one: one, lambda one: one.ad_account_id)


@blueprint.route("/accounts/<ad_account_id>")
@blueprint.response(200, AccountAnswer)
def get_account(ad_account_id: str) -> AccountStatus:
    """Show an ad account."""
    return accounts.get_account(context.caller(), ad_account_id)


@blueprint.route("/accounts/<ad_account_id>", methods=["PATCH"])
@blueprint.arguments(AccountChange)
@blueprint.response(200, AccountAnswer)
def patch_account(body: dict[str, Any], ad_account_id: str) -> AccountStatus:
    """Set an ad account's rate; what was spent of it stays spent."""
    rps, burst = body.get("rate_limit_rps"), body.get("rate_limit_burst")
    accounts.set_account_rate(context.caller(), ad_account_id, rps=rps, burst=burst)
    return accounts.get_account(context.caller(), ad_account_id)


@blueprint.route("/accounts/<ad_account_id>/pause", methods=["POST"])
@blueprint.arguments(PauseBody)
@blueprint.response(200, AccountAnswer)
def post_pause(body: dict[str, Any], ad_account_id: str) -> AccountStatus:
    """Stop sending to an ad account; its events are kept and wait."""
    accounts.pause_account(context.caller(), ad_account_id, body["reason"])
    return accounts.get_account(context.caller(), ad_account_id)


@blueprint.route("/accounts/<ad_account_id>/resume", methods=["POST"])
@blueprint.response(200, AccountAnswer)
def post_resume(ad_account_id: str) -> AccountStatus:
    """Send to an ad account again; what waits goes out within seconds."""
    accounts.resume_account(context.caller(), ad_account_id)
    return accounts.get_account(context.caller(), ad_account_id)
