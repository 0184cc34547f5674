"""Setting up sources on the pages."""

import re
import time
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from flask import Flask

from tests.api.conftest import Api
from tests.browser.shop_fixtures import STUB
from tests.pages.conftest import Pages
from worker.ledger.database import Ledger
from worker.ledger.reports import tallies
from worker.ledger.setup import sources
from worker.ledger.setup.integrations import Integration

FILLED = {
    "name": "Shop",
    "domains": "shop.example.com\nwww.example.com",
    "consent_browser": "drop",
    "consent_server": "allow",
    "dfid": "yes",
    "pin_unauth": "yes",
    "epik": "yes",
    "secure_cookies": "yes",
}
SECRET = re.compile(r"srv_[0-9a-f]{64}")


def test_a_new_source_shows_its_secret_once_and_its_snippet_always(
    pages: Pages, api: Api, ledger: Ledger
) -> None:
    answer = pages.send("/sources/add", FILLED)
    (made,) = api.get("/v1/admin/sources")["data"]

    (secret,) = SECRET.findall(answer.text)
    with ledger.read() as connection:
        assert secret == sources.load_signer(connection, ledger.vault, made["id"]).secret
    page = pages.get(f"/sources/{made['id']}")
    assert not SECRET.search(page)
    assert (
        "&lt;script async src=&#34;http://127.0.0.1:8080/d.js&#34; "
        f"data-pipeline-key=&#34;{made['pipeline_key']}&#34;&gt;" in page.replace('"', "&#34;")
    )
    assert made["domains"] == ["shop.example.com", "www.example.com"]


def test_the_snippet_tells_the_tag_how_to_count_page_views(
    pages: Pages, api: Api, source: dict[str, Any]
) -> None:
    mark = 'data-query-views="on"'
    assert mark not in unescape(pages.get("/sources/src_abc123"))

    pages.follow(pages.send("/sources/src_abc123/change", FILLED | {"query_views": "yes"}))

    assert f'data-pipeline-key="{source["pipeline_key"]}" {mark}>' in unescape(
        pages.get("/sources/src_abc123")
    )


@pytest.mark.parametrize(
    ("field", "wrong", "sentence"),
    [
        ("name", "", "Must be 1 to 200 characters."),
        ("domains", "shop.example.com\nshop example", "Item 2 (“shop example”) must be a host name"),
        ("domains", "*.a.example\n\na.example, jane@a.example", "Item 1 (“*.a.example”) must be a host name"),
        ("default_country", "XX", "Must be a country"),
        ("backlog_limit", "many", "Must be a whole number."),
        ("cookie_domain", "https://example.com", "Must be a host name like shop.example.com"),
        ("consent_groups", f"advertising: C0007, {'x' * 65}", f"Item 2 (“{'x' * 60}”) must be 1 to 64"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(pages: Pages, field: str, wrong: str, sentence: str) -> None:
    answer = pages.send("/sources/add", FILLED | {field: wrong})

    assert answer.status_code == 422
    assert answer.text.partition(f'id="{field}-error">')[2].startswith(sentence)


@pytest.mark.parametrize(
    "given",
    [
        "a.example.com, b.example.com",
        "https://a.example.com/cart?x=1\nb.example.com",
        "http://a.example.com:8443\r\n\r\n b.example.com ,",
        "a.example.com:8443\nB.example.com./cart",
        "HTTPS://jane:x@A.example.com/\n//b.example.com?x=a@b",
    ],
)
def test_domains_are_taken_as_the_list_shows_them_and_as_pasted_addresses(
    pages: Pages, api: Api, given: str
) -> None:
    assert pages.send("/sources/add", FILLED | {"domains": given}).status_code == 200
    (made,) = api.get("/v1/admin/sources")["data"]
    assert made["domains"] == ["a.example.com", "b.example.com"]


def test_every_wrong_domain_is_named_with_its_number(pages: Pages) -> None:
    given = "*.a.example\n\na.example, jane@a.example\nfaß.example"
    answer = pages.send("/sources/add", FILLED | {"domains": given})
    assert answer.status_code == 422
    told = answer.text.partition('id="domains-error">')[2].partition("<")[0]
    assert [part.partition(" must")[0] for part in told.split("Item ")[1:]] == [
        "1 (“*.a.example”)",
        "3 (“jane@a.example”)",
        "4 (“faß.example”)",
    ]


def test_an_international_domain_is_taken_as_browsers_send_it(pages: Pages, api: Api) -> None:
    given = FILLED | {"domains": "https://www.bücher.example/ä"}
    assert pages.send("/sources/add", given).status_code == 200
    (made,) = api.get("/v1/admin/sources")["data"]
    assert made["domains"] == ["www.xn--bcher-kva.example"]


def test_a_change_shows_what_is_set_and_keeps_the_rest(
    pages: Pages, api: Api, source: dict[str, Any]
) -> None:
    fields = FILLED | {"consent_browser": "allow", "cookie_domain": "example.com", "default_country": "de"}
    fields["consent_groups"] = "advertising: C0007, ads\n Analytics : C0008"
    fields |= {"shopify_secret": "hush", "webhook_mapping": "event = =Lead\nproperties.id = data.id"}
    del fields["epik"]
    pages.follow(pages.send("/sources/src_abc123/change", fields))
    after = api.get("/v1/admin/sources/src_abc123")

    assert after["default_consent"] == {"browser": "allow", "server": "allow"}
    assert after["cookies"] == {"domain": "example.com", "dfid": True, "pin_unauth": True, "epik": False}
    assert after["default_country"] == "DE"
    assert after["webhook_mapping"] == {"event": "=Lead", "properties.id": "data.id"}
    form = pages.get("/sources/src_abc123/change")
    assert "hush" not in form
    assert "properties.id = data.id" in form
    pages.follow(pages.send("/sources/src_abc123/change", fields | {"shopify_secret": ""}))
    assert api.get("/v1/admin/sources/src_abc123")["webhook_secrets"]["shopify"] == "***"
    shown = pages.get("/sources/src_abc123")
    assert "/v1/webhooks/src_abc123/shopify" in shown
    assert "/v1/webhooks/src_abc123/woocommerce" not in shown
    groups = {"advertising": ["C0007", "ads"], "marketing": [], "analytics": ["C0008"], "functional": []}
    assert after["consent_groups"] == groups
    assert "C0007, ads" in pages.get("/sources/src_abc123")
    form = pages.get("/sources/src_abc123/change")
    assert "shop.example.com\nwww.example.com</textarea>" in form
    assert "advertising: C0007, ads\nanalytics: C0008</textarea>" in form
    assert re.search(r'id="pin_unauth"[^>]* checked', form)
    assert not re.search(r'id="epik"[^>]* checked', form)


def test_a_new_key_leaves_the_old_one_good_for_a_while(
    pages: Pages, api: Api, source: dict[str, Any]
) -> None:
    page = pages.follow(pages.send("/sources/src_abc123/pipeline-key", {"overlap_hours": "24"}))
    after = api.get("/v1/admin/sources/src_abc123")

    assert after["pipeline_keys"] == [after["pipeline_key"], source["pipeline_key"]]
    assert after["pipeline_key"] in page
    assert pages.send("/sources/src_abc123/pipeline-key", {"overlap_hours": "x"}).status_code == 422


def test_a_new_secret_is_shown_once(pages: Pages, source: dict[str, Any]) -> None:
    (secret,) = SECRET.findall(pages.send("/sources/src_abc123/server-secret").text)

    assert secret != source["server_secret"]
    assert not SECRET.search(pages.get("/sources/src_abc123"))


def test_only_a_source_without_integrations_is_deleted(
    pages: Pages, api: Api, source: dict[str, Any], shop: Integration
) -> None:
    assert "Source deleted." in pages.follow(pages.send("/sources/src_abc123/delete"))
    answer = pages.send("/sources/src_shop/delete")
    assert answer.status_code == 409
    assert "still has integrations" in answer.text


def test_where_a_stand_in_answers_for_pinterest_its_shop_is_at_hand(
    app: Flask, pages: Pages, source: dict[str, Any]
) -> None:
    assert "sample shop" not in pages.get("/sources/src_abc123")
    management = app.extensions["signal-management"]
    sandbox = replace(management.settings, pinterest_api_url="http://127.0.0.1:8090")
    app.extensions["signal-management"] = replace(management, settings=sandbox)
    page = pages.get("/sources/src_abc123")

    entry = f"collector=http%3A%2F%2F127.0.0.1%3A8080&amp;key={source['pipeline_key']}"
    assert f'<a href="http://127.0.0.1:8090/shop?{entry}">Try it in the sample shop</a>' in page
    assert "Add <code>127.0.0.1</code> to the domains first" in page


def test_the_snippet_keeps_calls_that_come_before_the_script(pages: Pages, source: dict[str, Any]) -> None:
    """It is the stub that the browser tests of Datafly.js load, letter by letter."""
    shown = unescape(
        pages.get("/sources/src_abc123").partition('<pre id="snippet">')[2].partition("</pre>")[0]
    )

    assert shown.startswith(f"{STUB}\n<script async src=")


def test_the_settings_say_where_days_begin_and_whether_the_source_is_debugged(
    pages: Pages, api: Api, source: dict[str, Any]
) -> None:
    assert "<dt>Debugging</dt><dd>off:" in pages.get("/sources/src_abc123")
    api.change("/v1/admin/sources/src_abc123", {"time_zone": "Europe/Berlin"})
    pages.send("/sources/src_abc123/debugging", {"on": "yes"})
    page = pages.get("/sources/src_abc123")

    assert "<dd>Europe/Berlin, for the days of" in page
    assert "<dt>Debugging</dt><dd>on until <time" in page


def test_the_page_shows_what_the_quotas_refused(pages: Pages, source: dict[str, Any], ledger: Ledger) -> None:
    used = {tallies.PUBLIC_VISITORS: 1_234, tallies.VISITORS_REFUSED: 56, tallies.DEBUG_INPUTS_DROPPED: 7}
    with ledger.write() as connection:
        tallies.append_usage(connection, {(source["id"], what): n for what, n in used.items()}, time.time())
        tallies.append_usage(
            connection, {(source["id"], tallies.VISITORS_REFUSED): 1}, time.time() - 31 * 86_400
        )
    page = pages.get(f"/sources/{source['id']}")
    assert "1,234 from public calls today, of at most 200,000." in page
    assert "56 not stored in the last 30 days" in page
    assert "7 debug inputs were replaced by newer ones." in page
