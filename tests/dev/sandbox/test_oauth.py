"""The sandbox plays Pinterest's account API, with rotation and every error of its contract."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from worker.dev.sandbox.http_server import Request
from worker.dev.sandbox.routes import App

BACK = "http://127.0.0.1:8084/integrations/connect/back"
BASIC = "Basic " + base64.b64encode(b"app:secret").decode()
DEMO = "549755885175"


class Caller:
    """Call an app with a clock that stops until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.app = App(clock=lambda: self.now)

    def call(self, method: str, path: str, token: str = "", body: Any = b"", **query: str) -> tuple[int, Any]:
        headers = (
            {"authorization": token if token.startswith("Basic") else f"Bearer {token}"} if token else {}
        )
        answer = self.app(Request(method, path, query, headers, body))
        assert isinstance(answer.body, bytes)
        return answer.status, json.loads(answer.body) if answer.body else dict(answer.headers)

    def behave(self, **account_api: Any) -> None:
        status, answer = self.call("POST", "/behave", body=json.dumps({"account_api": account_api}).encode())
        assert status == 200, answer

    def token(self, *, credentials: str = BASIC, **form: str) -> tuple[int, Any]:
        return self.call("POST", "/v5/oauth/token", credentials, urlencode(form).encode())

    def code(self, choice: str = "give", scope: str = "ads:read,ads:write") -> dict[str, list[str]]:
        asked = {"client_id": "app", "redirect_uri": BACK, "response_type": "code", "state": "s t"}
        status, headers = self.call("GET", "/oauth/", **asked, scope=scope, choice=choice)
        assert status == 302
        return parse_qs(urlsplit(headers["Location"]).query)

    def sign_in(self, **asked: str) -> Any:
        (code,) = self.code(**asked)["code"]
        status, answer = self.token(grant_type="authorization_code", code=code, redirect_uri=BACK)
        assert status == 200, answer
        return answer


@pytest.fixture
def caller() -> Caller:
    return Caller()


def test_a_code_gives_tokens_once_and_the_state_comes_back(caller: Caller) -> None:
    back = caller.code()
    assert back["state"] == ["s t"]
    form = {"grant_type": "authorization_code", "code": back["code"][0], "redirect_uri": BACK}
    status, tokens = caller.token(**form)
    assert (status, tokens["token_type"], tokens["expires_in"]) == (200, "bearer", 2_592_000)
    assert tokens["access_token"].startswith("pina_")
    assert tokens["refresh_token"].startswith("pinr_")
    assert caller.token(**form)[0] == 400


def test_the_page_names_the_app_and_leads_back_either_way(caller: Caller) -> None:
    asked = {"client_id": "<app>", "redirect_uri": BACK, "response_type": "code"}
    page = caller.app(Request("GET", "/oauth/", asked, {}, b""))
    assert isinstance(page.body, bytes)
    assert "&lt;app&gt;" in page.body.decode()
    assert caller.code(choice="refuse") == {"state": ["s t"], "error": ["access_denied"]}


def test_an_address_that_is_not_registered_and_wrong_credentials_are_refused(caller: Caller) -> None:
    caller.behave(redirect_uris=["https://other.example/"], app_secret="right")
    asked = {"client_id": "app", "redirect_uri": BACK, "response_type": "code"}
    assert caller.call("GET", "/oauth/", **asked)[0] == 400
    assert caller.token(grant_type="refresh_token", refresh_token="x")[0] == 401


@pytest.mark.parametrize("form", [{}, {"grant_type": "password"}, {"grant_type": "refresh_token"}], ids=str)
def test_an_incomplete_request_for_tokens_is_refused(caller: Caller, form: dict[str, str]) -> None:
    assert caller.token(**form)[0] == 400


def test_a_refresh_replaces_the_refresh_token(caller: Caller) -> None:
    first = caller.sign_in()
    status, second = caller.token(grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert status == 200
    assert second["refresh_token"] != first["refresh_token"]
    assert caller.token(grant_type="refresh_token", refresh_token=first["refresh_token"])[0] == 400
    assert caller.call("GET", "/v5/ad_accounts", second["access_token"])[0] == 200


def test_tokens_end_and_can_be_revoked(caller: Caller) -> None:
    tokens = caller.sign_in()
    caller.now += 2_592_000
    assert caller.call("GET", "/v5/ad_accounts", tokens["access_token"])[0] == 401
    tokens = caller.sign_in()
    caller.behave(revoked=True)
    assert caller.call("GET", "/v5/ad_accounts", tokens["access_token"])[0] == 401
    assert caller.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])[0] == 400


def test_a_conversion_token_needs_ads_write_and_reads_nothing(caller: Caller) -> None:
    assert caller.call(
        "POST", "/v5/oauth/conversion_token", caller.sign_in(scope="ads:read")["access_token"]
    )[0] == (403)
    status, made = caller.call("POST", "/v5/oauth/conversion_token", caller.sign_in()["access_token"])
    assert (status, made["token_type"]) == (200, "conversion")
    assert caller.call("GET", "/v5/ad_accounts", made["access_token"])[0] == 401


def test_ad_accounts_come_in_pages(caller: Caller) -> None:
    token = caller.sign_in()["access_token"]
    status, first = caller.call("GET", "/v5/ad_accounts", token)
    assert (status, len(first["items"]), first["bookmark"]) == (200, 25, "25")
    assert {"id", "name", "country", "currency", "time_zone"} <= first["items"][0].keys()
    _, rest = caller.call("GET", "/v5/ad_accounts", token, bookmark="25", page_size="250")
    assert (len(rest["items"]), rest["bookmark"]) == (17, None)
    assert caller.call("GET", "/v5/ad_accounts", token, page_size="251")[0] == 400


def test_events_and_scores_are_of_an_ad_account_that_the_person_may_use(caller: Caller) -> None:
    token = caller.sign_in()["access_token"]
    path = f"/v5/ad_accounts/{DEMO}"
    _, events = caller.call("GET", f"{path}/advertiser_defined_events", token)
    assert [one["name"] for one in events["items"]] == ["download_picture"]
    _, scores = caller.call(
        "GET", f"{path}/conversion_eqs", token, lookback_period="14d", ingestion_source="TAG"
    )
    assert [(one["overall_status"], one["lookback_period"]) for one in scores] == [("GOOD", "14d")]
    assert caller.call("GET", f"{path}/conversion_eqs", token)[0] == 400
    assert caller.call("GET", "/v5/ad_accounts/1/conversion_eqs", token, lookback_period="1d")[0] == 403


def test_a_script_answers_in_place_of_a_call(caller: Caller) -> None:
    token = caller.sign_in()["access_token"]
    limit = {"call": "ad_accounts", "status": 429, "headers": {"Retry-After": "30"}}
    caller.behave(answers=[limit, {"call": "token", "status": 500, "times": 2}])
    assert [caller.call("GET", "/v5/ad_accounts", token)[0] for _ in range(2)] == [429, 200]
    assert [caller.token(grant_type="x")[0] for _ in range(3)] == [500, 500, 400]
    assert caller.call("POST", "/v5/ad_accounts", token)[0] == 405
