"""Connect with Pinterest: to its sign-in page, back from it, and to the ad account."""

from urllib.parse import urlencode

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from worker.api import auth, context
from worker.operations.setup import connect
from worker.operations.setup.connect import PinterestApp
from worker.pages.base import blueprint, redirect_to

_MOST_SHOWN = 50


def pinterest_app() -> PinterestApp:
    """Return the operator's app at Pinterest, as the settings have it."""
    config = context.app_settings()
    return PinterestApp(
        config.pinterest_api_url, config.pinterest_app_id, config.pinterest_app_secret, config.management_url
    )


@blueprint.get("/integrations/connect")
def _connect_page() -> AnyResponse:
    """Lead to Pinterest's page that asks for access."""
    target = request.args.get("for", "")
    return redirect(
        connect.begin_connecting(context.request_caller(), pinterest_app(), _session(), target), 303
    )


@blueprint.get("/integrations/connect/back")
def _connect_back_page() -> str:
    """Go on at once. Browsers send no session cookie to a page that another site leads to."""
    answer = {name: request.args.get(name) for name in ("code", "state", "error")}
    query = urlencode({name: value for name, value in answer.items() if value is not None})
    return render_template("connect_back.html", onward=f"{url_for('ui.connect_finish_page')}?{query}")


@blueprint.get("/integrations/connect/finish")
def _connect_finish_page() -> AnyResponse:
    """Take Pinterest's answer, then show the ad accounts, or the integration that was connected."""
    result = connect.finish_connecting(
        context.request_caller(), pinterest_app(), _session(), request.args.to_dict()
    )
    if result.target.startswith("int_"):
        notice = "connected-to-read" if result.missing else "connected"
        notice = "connected-with-token" if result.has_new_token else notice
        return redirect_to("ui.integration_page", notice, integration_id=result.target)
    notice = "connected-partly" if result.missing else "signed-in"
    return redirect_to("ui.choose_account_page", notice, login_id=result.login_id, source_id=result.target)


@blueprint.get("/integrations/connect/<int:login_id>")
def _choose_account_page(login_id: int) -> str:
    """List the ad accounts of a sign-in, to pick one."""
    search = request.args.get("wanted", "").strip()
    accounts = connect.ad_account_choices(context.request_caller(), pinterest_app(), login_id, search)
    return render_template(
        "connect_accounts.html",
        accounts=accounts[:_MOST_SHOWN],
        more=len(accounts) - _MOST_SHOWN,
        wanted=search,
        login_id=login_id,
        source_id=request.args.get("source_id", ""),
    )


def _session() -> str:
    return request.cookies.get(auth.SESSION_COOKIE, "")
