"""Connect with Pinterest on the pages, against a sandbox that plays Pinterest."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from sqlalchemy import select

from tests.api.conftest import Api
from tests.pages.conftest import Pages
from worker.dev.sandbox.received_events import token_fingerprint
from worker.dev.sandbox.server import Sandbox, sandbox_in_thread
from worker.ledger.database import Ledger
from worker.ledger.schema import metadata
from worker.ledger.setup import ad_accounts, integrations, pinterest_connections
from worker.ledger.setup.integrations import Integration
from worker.settings import Settings, parse

DEMO = "549755885175"


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with sandbox_in_thread() as running:
        yield running


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.behave_well()
    running.forget()
    return running


@pytest.fixture
def settings(sandbox: Sandbox, tmp_path: Path) -> Settings:
    return parse(
        {
            "SIGNAL_VAR": str(tmp_path),
            "PINTEREST_API_URL": sandbox.url,
            "ALLOW_SANDBOX": "1",
            "PINTEREST_APP_ID": "1500000",
            "PINTEREST_APP_SECRET": "the-secret-of-the-app",
            "ADMIN_TOKEN": "the-token-of-the-tests",
            "ENCRYPTION_KEY": "00" * 32,
        }
    )


@pytest.fixture
def source(api: Api) -> str:
    made = api.make("/v1/admin/sources", {"id": "src_shop", "name": "Shop", "domain": "shop.example.com"})
    return str(made["id"])


def begin(pages: Pages, target: str = "") -> str:
    answer = pages.client.get("/integrations/connect", query_string={"for": target})
    assert answer.status_code == 303, answer.text
    return answer.location


def back(address: str, choice: str = "give") -> str:
    """Answer Pinterest's page; return the path to which it leads."""
    answer = requests.get(address, params={"choice": choice}, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    parts = urlsplit(answer.headers["Location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "http://127.0.0.1:8084/integrations/connect/back"
    return f"{parts.path}?{parts.query}"


def onward(pages: Pages, path: str) -> str:
    """Follow the page that needs no session to the one that does."""
    found = re.search(r'url=([^"]+)"', pages.get(path))
    assert found
    return found[1].replace("&amp;", "&")


def sign_in(pages: Pages, target: str = "") -> str:
    """Sign in at Pinterest; return where the pages lead then."""
    answer = pages.client.get(onward(pages, back(begin(pages, target))))
    assert answer.status_code == 303, answer.text
    return answer.location


def refusal(pages: Pages, path: str) -> str:
    answer = pages.client.get(path)
    assert answer.status_code == 409, answer.text
    return answer.text


def connect(pages: Pages, ledger: Ledger) -> Integration:
    """Sign in, pick the demo shop and save."""
    choose = sign_in(pages, "src_shop")
    login = urlsplit(choose).path.rpartition("/")[2]
    form = f"/integrations/add/pinterest?login={login}&ad_account_id={DEMO}&source_id=src_shop"
    shown = pages.get(form)
    assert "Leave this empty: Pinterest makes a token" in shown
    assert 'name="default_currency" type="text" value="USD"' in shown
    fields = {
        "name": "Shop",
        "source_id": "src_shop",
        "ad_account_id": DEMO,
        "login": login,
        "default_country": "US",
        "default_currency": "USD",
        "defined": "download_picture",
        "field_mapping": "signal",
        "consent_categories": "advertising",
    }
    answer = pages.send("/integrations/add/pinterest", fields, form)
    assert answer.status_code == 303, answer.text
    with ledger.read() as connection:
        (made,) = integrations.iterate_integrations(connection)
    return made


def token_of(ledger: Ledger, one: Integration) -> str:
    with ledger.read() as connection:
        return ad_accounts.access_token(connection, ledger.vault, one.credential_id)


@pytest.mark.usefixtures("source")
def test_from_the_button_to_an_integration_with_a_token_of_its_own(
    pages: Pages, ledger: Ledger, api: Api, sandbox: Sandbox
) -> None:
    made = connect(pages, ledger)
    assert made.config == {
        "ad_account_id": DEMO,
        "field_mapping": "signal",
        "advertiser_events": ["download_picture"],
        "default_country": "US",
        "default_currency": "USD",
        "clean_free_text": False,
        "dedupe_by_business_id": False,
    }
    assert token_of(ledger, made).startswith("pinc_")
    assert api.get("/v1/admin/sources/src_shop")["time_zone"] == "America/New_York"
    page = pages.get(f"/integrations/{made.id}")
    assert "Connected to Demo shop (US, USD, America/New_York) by admin" in page
    tested = pages.send(f"/integrations/{made.id}/test").text
    assert "The connection works." in tested
    used = sandbox.received()["last"][-1]["token"]
    assert used == token_fingerprint(token_of(ledger, made))


@pytest.mark.usefixtures("source")
def test_the_account_is_picked_from_a_list_with_names_that_can_be_searched(pages: Pages) -> None:
    choose = sign_in(pages)
    page = pages.get(choose)
    assert "Signed in. Pick the ad account" in page
    assert "Demo shop" in page
    page = pages.get(f"{choose}&wanted=laden")
    assert "Laden Berlin" in page
    assert "Demo shop" not in page
    assert "No ad account has a name or id that contains" in pages.get(f"{choose}&wanted=nothing")
    assert "Client 40" in pages.get(f"{choose}&wanted=549755885240")


def test_a_state_counts_once_and_in_its_own_session(app: Flask, pages: Pages, viewer: Pages) -> None:
    path = onward(pages, back(begin(pages)))
    other = Pages(app.test_client())
    other.sign_in()
    assert "This sign-in has expired, was used already" in refusal(other, path)
    assert viewer.client.get(path).status_code == 403
    assert pages.client.get(path).status_code == 303
    assert "This sign-in has expired, was used already" in refusal(pages, path)


def test_a_state_expires(pages: Pages, ledger: Ledger) -> None:
    path = onward(pages, back(begin(pages)))
    with ledger.write() as connection:
        connection.execute(metadata.tables["login_state"].update().values(ends_at=1.0))
    assert "This sign-in has expired" in refusal(pages, path)


def test_the_page_that_pinterest_leads_to_needs_no_session_and_passes_on_only_its_answer(
    stranger: Pages,
) -> None:
    path = onward(stranger, "/integrations/connect/back?code=c%22%3E&state=s&_external=1&_scheme=javascript")
    assert path == "/integrations/connect/finish?code=c%22%3E&state=s"
    assert urlsplit(stranger.client.get(path).location).path == "/sign-in"


def test_a_person_who_gives_no_access_is_answered_in_words(pages: Pages, ledger: Ledger) -> None:
    path = onward(pages, back(begin(pages), "refuse"))
    assert "You gave no access at Pinterest, so nothing was changed." in refusal(pages, path)
    with ledger.read() as connection:
        assert connection.execute(select(metadata.tables["pinterest_login"])).all() == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 400, "message": "The code has expired."}, "HTTP 400: The code has expired."),
        ({"status": 401}, "HTTP 401: Authentication failed."),
        ({"status": 429}, "HTTP 429: This request exceeded a rate limit."),
    ],
    ids=["expired", "secret", "limit"],
)
def test_what_pinterest_refuses_is_said_in_its_own_words(
    pages: Pages, sandbox: Sandbox, answer: dict[str, Any], words: str
) -> None:
    path = onward(pages, back(begin(pages)))
    sandbox.behave({"account_api": {"answers": [{"call": "token", **answer}]}})
    assert f"Pinterest did not accept the sign-in. Pinterest answered {words}" in refusal(pages, path)


def test_less_scope_than_requested_is_named(pages: Pages, sandbox: Sandbox) -> None:
    sandbox.behave({"account_api": {"scope": "ads:write"}})
    path = onward(pages, back(begin(pages)))
    assert "Pinterest gave access without ads:read. Nothing was changed." in refusal(pages, path)
    sandbox.behave({"account_api": {"scope": "ads:read"}})
    assert "Signed in, but without ads:write" in pages.get(sign_in(pages))


@pytest.mark.usefixtures("source")
def test_connecting_again_keeps_settings_and_token_and_replaces_what_reads(
    pages: Pages, ledger: Ledger
) -> None:
    made = connect(pages, ledger)
    before = token_of(ledger, made)
    assert "Connected. " in pages.get(sign_in(pages, made.id))
    with ledger.read() as connection:
        (again,) = integrations.iterate_integrations(connection)
        (reading,) = pinterest_connections.readings(connection)
        login = pinterest_connections.load_login(connection, ledger.vault, reading.login_id)
    assert login
    assert (again, token_of(ledger, again), login.version) == (made, before, 2)


def test_an_integration_with_a_token_that_ends_gets_one_that_lasts(
    pages: Pages, ledger: Ledger, source: str, api: Api
) -> None:
    config = {"ad_account_id": DEMO, "access_token": "pina_ends", "token_expires_at": "2030-01-01T00:00:00Z"}
    body = {"source_id": source, "vendor": "pinterest", "name": "Shop", "config": config}
    made = api.make("/v1/admin/integrations", body)
    assert "with a new long-lived token for events" in pages.get(sign_in(pages, made["id"]))
    with ledger.read() as connection:
        (one,) = integrations.iterate_integrations(connection)
    assert "token_expires_at" not in one.config
    assert token_of(ledger, one).startswith("pinc_")


def test_a_person_without_rights_to_the_ad_account_changes_nothing(
    pages: Pages, ledger: Ledger, source: str, api: Api
) -> None:
    config = {"ad_account_id": "42", "access_token": "pina_kept"}
    body = {"source_id": source, "vendor": "pinterest", "name": "Shop", "config": config}
    made = api.make("/v1/admin/integrations", body)
    path = onward(pages, back(begin(pages, made["id"])))
    assert "The person who signed in may not use ad account 42." in refusal(pages, path)
    with ledger.read() as connection:
        assert pinterest_connections.readings(connection) == []


@pytest.mark.usefixtures("source")
def test_no_token_is_on_a_page_or_in_clear_in_the_ledger(pages: Pages, ledger: Ledger) -> None:
    made = connect(pages, ledger)
    paths = (
        f"/integrations/{made.id}",
        f"/integrations/{made.id}/change",
        "/audit",
        "/integrations",
        "/quality",
    )
    shown = "".join(map(pages.get, paths))
    with ledger.read() as connection:
        rows = [row for table in metadata.sorted_tables for row in connection.execute(select(table))]
    for mark in ("pina_", "pinr_", "pinc_", "the-secret-of-the-app"):
        assert mark not in shown
        assert mark not in repr(rows)


@pytest.mark.usefixtures("source")
def test_connecting_again_with_less_scope_says_so_and_keeps_the_token(
    pages: Pages, ledger: Ledger, sandbox: Sandbox
) -> None:
    made = connect(pages, ledger)
    before = token_of(ledger, made)
    sandbox.behave({"account_api": {"scope": "ads:read"}})
    assert "Connected, but without ads:write" in pages.get(sign_in(pages, made.id))
    assert token_of(ledger, made) == before


@pytest.mark.parametrize("number", ["7", "9" * 25])
def test_a_sign_in_that_does_not_exist_is_not_found(pages: Pages, number: str) -> None:
    assert pages.client.get(f"/integrations/connect/{number}").status_code == 404
    path = f"/integrations/add/pinterest?login={number}&ad_account_id=1"
    assert pages.client.get(path).status_code == 404


@pytest.mark.usefixtures("source")
def test_without_ads_write_the_form_says_that_no_token_is_made_and_takes_one(
    pages: Pages, ledger: Ledger, sandbox: Sandbox
) -> None:
    sandbox.behave({"account_api": {"scope": "ads:read"}})
    login = urlsplit(sign_in(pages)).path.rpartition("/")[2]
    fields = {"name": "Shop", "source_id": "src_shop", "ad_account_id": DEMO, "login": login}
    refused = pages.send("/integrations/add/pinterest", fields)
    assert refused.status_code == 422
    assert "Pinterest did not make a token for events. Pinterest answered HTTP 403" in refused.text
    other = pages.send(
        "/integrations/add/pinterest", fields | {"ad_account_id": "77", "access_token": "pina_x"}
    )
    assert "Is not an ad account that this Pinterest account may use." in other.text
    taken = pages.send("/integrations/add/pinterest", fields | {"access_token": "pina_pasted"})
    assert taken.status_code == 303
    with ledger.read() as connection:
        assert [one.ad_account_id for one in pinterest_connections.readings(connection)] == [DEMO]


def test_pinterest_is_asked_for_both_scopes_and_the_registered_address(pages: Pages) -> None:
    query = parse_qs(urlsplit(begin(pages)).query)
    assert query["scope"] == ["ads:read,ads:write"]
    assert query["redirect_uri"] == ["http://127.0.0.1:8084/integrations/connect/back"]
    assert (query["client_id"], query["response_type"]) == (["1500000"], ["code"])


def test_every_page_names_the_sandbox(pages: Pages, stranger: Pages, sandbox: Sandbox) -> None:
    words = f"events go to {sandbox.url}, not to Pinterest."
    for path in ("/", "/integrations", "/quality", "/explain"):
        assert words in pages.get(path)
    assert "events go to a sandbox, not to Pinterest." in stranger.get("/sign-in")
