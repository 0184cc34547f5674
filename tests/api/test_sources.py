"""Sources: made, shown, changed, deleted, and their keys."""

import re
import time
from typing import Any

import pytest
from freezegun import freeze_time
from sqlalchemy import update

from tests.api.conftest import Api
from worker.ledger.database import Ledger
from worker.ledger.schema import source as source_table
from worker.ledger.setup import sources

PATH = "/v1/admin/sources"
OPTIONS = {
    "default_consent": {"browser": "drop", "server": "allow"},
    "consent_groups": {"advertising": [], "marketing": [], "analytics": [], "functional": []},
    "cookies": {"domain": None, "dfid": True, "pin_unauth": True, "epik": True},
    "secure_cookies": True,
    "default_country": None,
    "time_zone": None,
    "backlog_limit": None,
    "public_backlog_limit": None,
    "public_visitors_per_day": None,
    "signed_only_events": [],
    "allow_null_origin": False,
    "query_views": False,
    "alert_thresholds": sources.ALERT_THRESHOLDS,
    "webhook_mapping": {},
}


def test_a_source_is_made_with_its_keys_and_the_usual_options(api: Api) -> None:
    with freeze_time("2026-01-29T14:53:20.5Z"):
        made = api.make(PATH, {"id": "src_abc123", "name": " Shop ", "domain": "Shop.Example.com"})
    key, secret = made["pipeline_key"], made["server_secret"]

    assert re.fullmatch("dk_live_[0-9a-f]{32}", key)
    assert re.fullmatch("srv_[0-9a-f]{64}", secret)
    assert made == {
        "id": "src_abc123",
        "name": "Shop",
        "domain": "shop.example.com",
        "domains": ["shop.example.com"],
        "pipeline_key": key,
        "pipeline_keys": [key],
        "server_secret": secret,
        "write_key": sources.write_key("src_abc123", secret),
        "webhook_secrets": dict.fromkeys(("shopify", "woocommerce", "custom")),
        **OPTIONS,
        "created_at": "2026-01-29T14:53:20.500Z",
        "updated_at": "2026-01-29T14:53:20.500Z",
    }


def test_a_source_reads_back_as_it_was_made_but_for_the_secret(api: Api, source: dict[str, Any]) -> None:
    del source["server_secret"], source["write_key"]

    assert source == api.get(f"{PATH}/src_abc123")
    assert {"data": [source], "next_cursor": None, "has_more": False} == api.get(PATH)


def test_an_id_is_made_up_where_none_is_given(api: Api) -> None:
    assert re.fullmatch("src_[0-9a-f]{16}", api.make(PATH, {"name": "Server only"})["id"])


def test_a_test_source_gets_a_test_key(api: Api) -> None:
    assert api.make(PATH, {"name": "Trial", "test": True})["pipeline_key"].startswith("dk_test_")


def test_the_collector_finds_in_the_ledger_what_was_set(api: Api, ledger: Ledger) -> None:
    options = {
        "default_consent": {"browser": "allow", "server": "drop"},
        "consent_groups": {"advertising": ["C0007"], "marketing": [], "analytics": ["7"], "functional": []},
        "cookies": {"domain": "example.com", "dfid": False, "pin_unauth": False, "epik": False},
        "secure_cookies": False,
        "default_country": "DE",
        "backlog_limit": 1000,
        "public_backlog_limit": 50,
        "public_visitors_per_day": 7,
        "signed_only_events": ["Order Completed", "lead"],
        "allow_null_origin": True,
        "query_views": True,
        "alert_thresholds": sources.ALERT_THRESHOLDS | {"failure_percent": 5, "silent_hours": 0},
        "webhook_mapping": {"event": "=Lead", "properties.id": "data.id"},
    }
    given = options | {"default_country": "de", "cookies": options["cookies"] | {"domain": ".Example.com"}}
    domains = ["a.example.com", "b.example.com"]
    made = api.make(PATH, {"id": "src_x", "name": "Shop", "domains": domains, **given})

    with ledger.read() as connection:
        kept = sources.source_of_key(connection, made["pipeline_key"], time.time())
        secret = sources.load_signer(connection, ledger.vault, "src_x").secret

    assert kept is not None
    assert (options, tuple(domains)) == (kept.options, kept.domains)
    assert (kept.default_consent("browser"), kept.default_consent("server")) == ("allow", "drop")
    assert kept.consent_groups == {"C0007": "advertising", "7": "analytics"}
    assert made["server_secret"] == secret


def test_an_option_that_is_null_is_left_to_whoever_reads_it(
    api: Api, source: dict[str, Any], ledger: Ledger
) -> None:
    api.change(f"{PATH}/src_abc123", {"backlog_limit": 5})
    api.change(f"{PATH}/src_abc123", {"backlog_limit": None})

    with ledger.read() as connection:
        kept = sources.load_source(connection, "src_abc123")
    assert kept is not None
    always = {
        "default_consent",
        "consent_groups",
        "cookies",
        "secure_cookies",
        "signed_only_events",
        "alert_thresholds",
    }
    assert set(kept.options) == always | {"allow_null_origin", "query_views", "webhook_mapping"}


def test_each_systems_secret_of_webhooks_is_stored_sealed_and_shown_masked(
    api: Api, source: dict[str, Any], ledger: Ledger
) -> None:
    path = f"{PATH}/src_abc123"

    def kept() -> dict[str, str]:
        with ledger.read() as connection:
            return dict(sources.load_signer(connection, ledger.vault, "src_abc123").webhook_secrets)

    def change(**secrets: str | None) -> dict[str, Any]:
        shown: dict[str, Any] = api.change(path, {"webhook_secrets": secrets})["webhook_secrets"]
        return shown

    assert kept() == {}
    assert change(shopify="hush") == {"shopify": "***", "woocommerce": None, "custom": None}
    assert change(custom="psst", shopify="***")["woocommerce"] is None
    api.change(path, api.get(path) | {"name": "Other"})
    assert kept() == {"shopify": "hush", "custom": "psst"}
    with ledger.read() as connection:
        stored = connection.exec_driver_sql("SELECT webhook_secret FROM source").scalar_one()
    assert b"hush" not in stored
    change(shopify="hush again")
    assert kept() == {"shopify": "hush again", "custom": "psst"}
    assert change(shopify=None, custom="") == dict.fromkeys(("shopify", "woocommerce", "custom"))
    assert kept() == {}
    audit = api.get("/v1/admin/audit")
    assert "hush" not in str(audit)
    assert [entry["changes"]["webhook_secrets.shopify"] for entry in audit["data"][:2]] == [
        ["***", None],
        ["***", "***"],
    ]


def test_one_secret_of_an_earlier_version_is_that_of_every_system(
    api: Api, source: dict[str, Any], ledger: Ledger
) -> None:
    with ledger.write() as connection:
        one = ledger.vault.seal(b"old", b"webhook secret")
        connection.execute(update(source_table).values(webhook_secret=one))
    path = f"{PATH}/src_abc123"
    assert set(api.get(path)["webhook_secrets"].values()) == {"***"}
    api.change(path, {"webhook_secrets": {"custom": "new"}})
    with ledger.read() as connection:
        signer = sources.load_signer(connection, ledger.vault, "src_abc123")
    assert signer.webhook_secrets == {"shopify": "old", "woocommerce": "old", "custom": "new"}


def test_a_new_mapping_of_webhooks_replaces_the_former_one(api: Api, source: dict[str, Any]) -> None:
    api.change(f"{PATH}/src_abc123", {"webhook_mapping": {"event": "a", "messageId": "b"}})
    shown = api.change(f"{PATH}/src_abc123", {"webhook_mapping": {"event": "c"}})
    assert shown["webhook_mapping"] == {"event": "c"}


def test_a_source_that_was_written_with_few_options_shows_all_of_them(api: Api, ledger: Ledger) -> None:
    sparse = sources.Source("src_first", "First", (), 0.0, 0.0, {"cookies": {"epik": False}})
    ledger.vault.prepare()
    with ledger.write() as connection:
        sources.insert_source(connection, ledger.vault, sparse, "dk_live_first", "secret")
    shown = api.get(f"{PATH}/src_first")

    expected = OPTIONS | {"cookies": {"domain": None, "dfid": True, "pin_unauth": True, "epik": False}}
    assert expected == {name: shown[name] for name in OPTIONS}
    assert shown == api.change(f"{PATH}/src_first", shown)


def test_the_server_secret_is_sealed_at_rest(source: dict[str, Any], ledger: Ledger, tmp_path: Any) -> None:
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())

    assert b"src_abc123" in written
    assert source["server_secret"].encode() not in written


def test_a_second_source_of_one_id_is_a_duplicate(api: Api, source: dict[str, Any]) -> None:
    answer = api.call("POST", PATH, {"id": "src_abc123", "name": "Other"})

    assert answer.status_code == 409
    error = {"code": "DUPLICATE", "message": "There is a source src_abc123 already."}
    assert {"error": error} == answer.json


HOST = "must be a host name like shop.example.com, without scheme, port or path"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"name": ""}, "name: must be 1 to 200 characters"),
        ({"name": "n" * 201}, "name: must be 1 to 200 characters"),
        ({"name": None}, "name: must not be null"),
        ({"name": 7}, "name: must be a string"),
        ({"id": "abc"}, "id: must be src_ and 1 to 64 letters, digits, _ or -"),
        ({"id": "src_" + "x" * 65}, "id: must be src_ and 1 to 64 letters, digits, _ or -"),
        ({"id": "src_x y"}, "id: must be src_ and 1 to 64 letters, digits, _ or -"),
        ({"domain": "https://shop.example.com"}, f"domain: {HOST}"),
        ({"domain": "shop.example.com:8443"}, f"domain: {HOST}"),
        ({"domain": "shop..com"}, f"domain: {HOST}"),
        ({"domain": "müller.example"}, f"domain: {HOST}"),
        ({"domains": ["a.example", "*"]}, f"domains.1: {HOST}"),
        ({"domains": "a.example"}, "domains: must be a list"),
        ({"domains": ["a.example"] * 51}, "domains: must be at most 50 domains"),
        ({"domain": "a.example", "domains": ["b.example"]}, "domain: must be the first of domains"),
        ({"default_consent": "drop"}, "default_consent: must be an object"),
        ({"default_consent": {"browser": "keep"}}, "default_consent.browser: must be one of: drop, allow"),
        ({"default_consent": {"app": "drop"}}, "default_consent.app: is not a known field"),
        ({"cookies": {"epik": 1}}, "cookies.epik: must be true or false"),
        ({"cookies": {"epik": "yes"}}, "cookies.epik: must be true or false"),
        ({"cookies": {"domain": "a/b"}}, f"cookies.domain: {HOST}"),
        ({"cookies": {"domain": 5}}, "cookies.domain: must be a string"),
        ({"secure_cookies": None}, "secure_cookies: must not be null"),
        ({"default_country": "GER"}, "default_country: must be a country's two letters (ISO 3166), like DE"),
        ({"time_zone": "Berlin"}, "time_zone: must be the name of a time zone, like Europe/Berlin or UTC"),
        ({"default_country": "XX"}, "default_country: must be a country's two letters (ISO 3166), like DE"),
        ({"backlog_limit": 0}, "backlog_limit: must be between 1 and 100,000,000"),
        ({"backlog_limit": 1.5}, "backlog_limit: must be a whole number"),
        ({"backlog_limit": True}, "backlog_limit: must be a whole number"),
        ({"backlog_limit": "5"}, "backlog_limit: must be a whole number"),
        ({"backlog_limit": 10**30}, "backlog_limit: must be between 1 and 100,000,000"),
        ({"pipeline_key": "dk_live_mine"}, "pipeline_key: is not a known field"),
    ],
)
def test_a_wrong_source_is_refused_with_the_field_and_why(
    api: Api, wrong: dict[str, Any], sentence: str
) -> None:
    assert (422, sentence) == api.error("POST", PATH, {"name": "Shop", **wrong})


def test_every_wrong_field_is_named_at_once(api: Api) -> None:
    body = {"nme": "Shop", "cookies": {"dfid": 0}}

    sentence = "cookies.dfid: must be true or false; name: is required; nme: is not a known field"
    assert (422, sentence) == api.error("POST", PATH, body)


def test_a_change_touches_what_is_given_and_nothing_else(api: Api, source: dict[str, Any]) -> None:
    del source["server_secret"], source["write_key"]
    given = {"cookies": {"epik": False}, "default_consent": {"browser": "allow"}, "default_country": "US"}
    with freeze_time("2030-01-01T00:00:00Z"):
        changed = api.change(f"{PATH}/src_abc123", given)

    expected = source | {
        "cookies": source["cookies"] | {"epik": False},
        "default_consent": {"browser": "allow", "server": "allow"},
        "default_country": "US",
        "updated_at": "2030-01-01T00:00:00.000Z",
    }
    assert expected == changed == api.get(f"{PATH}/src_abc123")


@pytest.mark.parametrize(
    ("given", "domains"),
    [
        ({"domain": "new.example"}, ["new.example"]),
        ({"domain": None}, []),
        ({"domains": ["b.example", "a.example", "b.example"]}, ["b.example", "a.example"]),
        ({"name": "Other"}, ["shop.example.com"]),
    ],
)
def test_the_domains_follow_whichever_field_names_them(
    api: Api, source: dict[str, Any], given: dict[str, Any], domains: list[str]
) -> None:
    changed = api.change(f"{PATH}/src_abc123", given)

    assert (domains, next(iter(domains), None)) == (changed["domains"], changed["domain"])


def test_null_takes_an_option_back(api: Api, source: dict[str, Any]) -> None:
    api.change(f"{PATH}/src_abc123", {"default_country": "US", "cookies": {"domain": "example.com"}})
    changed = api.change(f"{PATH}/src_abc123", {"default_country": None, "cookies": {"domain": None}})

    assert (None, OPTIONS["cookies"]) == (changed["default_country"], changed["cookies"])


def test_the_domain_of_the_cookies_may_be_all_that_changes(api: Api, source: dict[str, Any]) -> None:
    changed = api.change(f"{PATH}/src_abc123", {"cookies": {"domain": "example.com"}})

    assert changed["cookies"] == OPTIONS["cookies"] | {"domain": "example.com"}
    assert api.get("/v1/admin/audit")["data"][0]["changes"] == {"cookies.domain": [None, "example.com"]}


def test_what_was_read_may_be_sent_back_and_changes_nothing(api: Api, source: dict[str, Any]) -> None:
    read = api.get(f"{PATH}/src_abc123")

    assert read == api.change(f"{PATH}/src_abc123", read)
    assert [entry["action"] for entry in api.get("/v1/admin/audit")["data"]] == ["source.create"]


@pytest.mark.parametrize("field", ["id", "pipeline_key", "created_at", "updated_at"])
def test_what_is_fixed_cannot_be_changed(api: Api, source: dict[str, Any], field: str) -> None:
    expected = (422, f"{field}: cannot be changed")

    assert expected == api.error("PATCH", f"{PATH}/src_abc123", {field: "another"})


def test_a_new_pipeline_key_takes_over_with_an_overlap(
    api: Api, source: dict[str, Any], ledger: Ledger
) -> None:
    with freeze_time("2030-01-01T00:00:00Z"):
        rotated = api.call("POST", f"{PATH}/src_abc123/pipeline-key", {"overlap_hours": 2}).json
    old, new = source["pipeline_key"], rotated["pipeline_key"]

    assert old != new
    assert [new, old] == rotated["pipeline_keys"]
    with freeze_time("2030-01-01T01:59:59Z"):
        assert [new, old] == api.get(f"{PATH}/src_abc123")["pipeline_keys"]
    with freeze_time("2030-01-01T02:00:01Z"):
        assert [new] == api.get(f"{PATH}/src_abc123")["pipeline_keys"]


def test_a_rotation_without_a_body_overlaps_for_a_day(api: Api, source: dict[str, Any]) -> None:
    with freeze_time("2030-01-01T00:00:00Z"):
        api.call("POST", f"{PATH}/src_abc123/pipeline-key")

    told = api.get("/v1/admin/audit")["data"][0]["changes"]
    assert told["old_keys_end_at"] == [None, "2030-01-02T00:00:00.000Z"]


def test_a_leaked_key_can_end_at_once(api: Api, source: dict[str, Any]) -> None:
    rotated = api.call("POST", f"{PATH}/src_abc123/pipeline-key", {"overlap_hours": 0, "test": True}).json

    assert rotated["pipeline_keys"] == [rotated["pipeline_key"]]
    assert rotated["pipeline_key"].startswith("dk_test_")


@pytest.mark.parametrize("hours", [-1, 8785, "2", None])
def test_an_overlap_is_hours_within_a_year(api: Api, source: dict[str, Any], hours: object) -> None:
    status, sentence = api.error("POST", f"{PATH}/src_abc123/pipeline-key", {"overlap_hours": hours})

    assert (status, sentence.partition(":")[0]) == (422, "overlap_hours")


def test_a_new_server_secret_replaces_the_old_one(api: Api, source: dict[str, Any], ledger: Ledger) -> None:
    rotated = api.call("POST", f"{PATH}/src_abc123/server-secret").json

    assert rotated["server_secret"] != source["server_secret"]
    with ledger.read() as connection:
        assert rotated["server_secret"] == sources.load_signer(connection, ledger.vault, "src_abc123").secret


def test_a_deleted_source_is_gone_with_its_keys(api: Api, source: dict[str, Any], ledger: Ledger) -> None:
    answer = api.call("DELETE", f"{PATH}/src_abc123")

    assert (answer.status_code, answer.data) == (204, b"")
    assert api.call("GET", f"{PATH}/src_abc123").status_code == 404
    with ledger.read() as connection:
        assert sources.source_of_key(connection, source["pipeline_key"], time.time()) is None


def test_a_source_with_integrations_stays(api: Api, source: dict[str, Any]) -> None:
    config = {"ad_account_id": "1", "access_token": "token"}
    api.make(
        "/v1/admin/integrations",
        {"source_id": "src_abc123", "vendor": "pinterest", "name": "P", "config": config},
    )

    expected = (409, "src_abc123 still has integrations: delete those first.")
    assert expected == api.error("DELETE", f"{PATH}/src_abc123")
