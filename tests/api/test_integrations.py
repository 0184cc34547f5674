"""Integrations: made as the document says, shown without their token, changed, deleted."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from tests.api.conftest import TOKEN, Api
from worker.ledger.database import Ledger
from worker.ledger.delivery import new_deliveries
from worker.ledger.delivery.new_deliveries import NewDelivery
from worker.ledger.schema import State
from worker.ledger.setup import ad_accounts, integrations

PATH = "/v1/admin/integrations"

# The request as the product's documentation prints it.
DOCUMENT = """\
curl -X POST http://localhost:8084/v1/admin/integrations \\
  -H "Authorization: Bearer YOUR_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{
    "source_id": "src_abc123",
    "vendor": "pinterest",
    "name": "Pinterest Conversions",
    "enabled": true,
    "config": {
      "ad_account_id": "1234567890",
      "access_token": "your_access_token"
    },
    "consent_categories": ["advertising"]
  }'
"""
BODY = json.loads(re.search(r"-d '(.*)'", DOCUMENT, re.DOTALL)[1])  # type: ignore[index]


def body(**changed: Any) -> dict[str, Any]:
    """Return the document's body with another config, or other fields."""
    config = BODY["config"] | changed.pop("config", {})
    return BODY | changed | {"config": config}


@pytest.fixture
def made(api: Api, source: dict[str, Any]) -> dict[str, Any]:
    """Make the document's integration."""
    integration: dict[str, Any] = api.make(PATH, BODY)
    return integration


def waits(ledger: Ledger, integration_id: str, event_id: str = "event") -> None:
    """Let an event wait for the integration."""
    with ledger.write() as connection:
        found = integrations.load_integration(connection, integration_id)
        assert found is not None
        new = NewDelivery(
            source_id=found.source_id,
            integration_id=found.number,
            ad_account=found.ad_account,
            test=False,
            offline=False,
            event_id=event_id,
            event_name="checkout",
            source_name="Order Completed",
            event_time=1_706_540_000,
            accepted_at=1_706_540_000.0,
            state=State.OPEN,
        )
        new_deliveries.insert_deliveries(connection, ledger.vault, [new], 1_706_540_000.0)


def test_the_documents_request_works_as_printed(api: Api, source: dict[str, Any]) -> None:
    method, path = re.match(r"curl -X (\w+) http://localhost:8084(\S+)", DOCUMENT).groups()  # type: ignore[union-attr]
    headers = dict(re.findall(r'-H "([^:]+): ([^"]+)"', DOCUMENT.replace("YOUR_TOKEN", TOKEN)))
    data = re.search(r"-d '(.*)'", DOCUMENT, re.DOTALL)[1]  # type: ignore[index]

    with freeze_time("2026-01-29T14:53:20Z"):
        answer = api.client.open(path, method=method, headers=headers, data=data)

    assert answer.status_code == 201
    assert re.fullmatch("int_[0-9a-f]{16}", answer.json["id"])
    assert answer.json == {
        "id": answer.json["id"],
        "source_id": "src_abc123",
        "vendor": "pinterest",
        "name": "Pinterest Conversions",
        "enabled": True,
        "config": {
            "ad_account_id": "1234567890",
            "access_token": "***",
            "rate_limit_rps": 70,
            "rate_limit_burst": 140,
            "field_mapping": "signal",
            "test_mode": False,
        },
        "consent_categories": ["advertising"],
        "created_at": "2026-01-29T14:53:20.000Z",
        "updated_at": "2026-01-29T14:53:20.000Z",
    }


def test_an_integration_reads_back_as_it_was_made(api: Api, made: dict[str, Any]) -> None:
    assert made == api.get(f"{PATH}/{made['id']}")
    assert {"data": [made], "next_cursor": None, "has_more": False} == api.get(PATH)


def test_the_access_token_is_sealed_at_rest_and_delivery_can_open_it(
    made: dict[str, Any], ledger: Ledger, tmp_path: Path
) -> None:
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    with ledger.read() as connection:
        kept = integrations.load_integration(connection, made["id"])
        assert kept is not None
        token = ad_accounts.access_token(connection, ledger.vault, kept.credential_id)

    assert token == "your_access_token"
    assert b"1234567890" in written
    assert b"your_access_token" not in written


def test_the_ledger_keeps_the_config_without_token_and_rate(
    api: Api, source: dict[str, Any], ledger: Ledger
) -> None:
    """The rate is the ad account's, so that no two places can disagree about it."""
    given = {"field_mapping": "pinterest", "test_mode": True, "rate_limit_rps": 5, "token_expires_at": None}
    made = api.make(PATH, body(config=given))

    with ledger.read() as connection:
        kept = integrations.load_integration(connection, made["id"])
        rates = integrations.rate_limits(connection, ["1234567890"])
    assert kept is not None
    assert kept.config == {"ad_account_id": "1234567890", "field_mapping": "pinterest", "test_mode": True}
    assert {"1234567890": ad_accounts.AccountRateLimit(5.0, 140)} == rates


def test_type_names_the_vendor_as_well(api: Api, source: dict[str, Any]) -> None:
    renamed = {("type" if key == "vendor" else key): value for key, value in BODY.items()}

    assert api.make(PATH, renamed)["vendor"] == "pinterest"


def test_what_is_left_out_has_safe_defaults(api: Api, source: dict[str, Any]) -> None:
    short = {key: BODY[key] for key in ("source_id", "vendor", "name", "config")}
    made = api.make(PATH, short)

    assert (made["enabled"], made["consent_categories"]) == (True, ["advertising"])


def test_the_connectors_settings_are_kept_and_shown(api: Api, source: dict[str, Any]) -> None:
    given = {
        "event_overrides": {"Newsletter Opened": "drop", "Trial": ["start_trial", "my_event"]},
        "advertiser_events": ["my_event"],
        "token_expires_at": "2030-01-29T14:53:20Z",
        "truncate_ip": True,
        "default_country": "DE",
    }
    made = api.make(PATH, body(config=given))

    assert given == {key: made["config"][key] for key in given}
    assert made == api.get(f"{PATH}/{made['id']}")


def test_a_second_integration_for_the_same_ad_account_is_a_duplicate(api: Api, made: dict[str, Any]) -> None:
    answer = api.call("POST", PATH, body(name="Again", config={"access_token": "another"}))

    assert answer.status_code == 409
    message = f"src_abc123 delivers to ad account 1234567890 already, by {made['id']}."
    assert {"error": {"code": "DUPLICATE", "message": message}} == answer.json


def test_another_source_may_deliver_to_the_same_ad_account_at_the_rate_that_it_has(
    api: Api, source: dict[str, Any]
) -> None:
    api.make(PATH, body(config={"rate_limit_rps": 3, "rate_limit_burst": 4}))
    api.make("/v1/admin/sources", {"id": "src_other", "name": "Other"})
    second = api.make(PATH, body(source_id="src_other"))

    assert (second["config"]["rate_limit_rps"], second["config"]["rate_limit_burst"]) == (3, 4)


ACCOUNT = "must be a text of 1 to 18 digits, as Pinterest Ads Manager shows it"
TOKEN_RULE = "must be Pinterest's access token: printable characters without spaces"
CATEGORY = "must be one of: analytics, marketing, functional, advertising"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"source_id": "src_nobody"}, "source_id: there is no source src_nobody"),
        ({"source_id": "nobody"}, "source_id: there is no source nobody"),
        ({"vendor": "facebook"}, "vendor: must be one of: pinterest"),
        ({"type": "meta"}, "type: must be one of: pinterest"),
        ({"enabled": "true"}, "enabled: must be true or false"),
        ({"name": " "}, "name: must be 1 to 200 characters"),
        ({"consent_categories": "advertising"}, "consent_categories: must be a list"),
        ({"consent_categories": ["ads"]}, f"consent_categories.0: {CATEGORY}"),
        ({"id": "int_mine"}, "id: is not a known field"),
        ({"config": {"ad_account_id": "12a"}}, f"config.ad_account_id: {ACCOUNT}"),
        ({"config": {"ad_account_id": 1234567890}}, f"config.ad_account_id: {ACCOUNT}"),
        ({"config": {"ad_account_id": "1" * 19}}, f"config.ad_account_id: {ACCOUNT}"),
        ({"config": {"ad_account_id": "١٢"}}, f"config.ad_account_id: {ACCOUNT}"),
        ({"config": {"access_token": ""}}, f"config.access_token: {TOKEN_RULE}"),
        ({"config": {"access_token": "a b"}}, f"config.access_token: {TOKEN_RULE}"),
        ({"config": {"access_token": None}}, "config.access_token: is missing"),
        ({"config": {"access_token": "***"}}, "config.access_token: must be the token itself, not its mask"),
        (
            {"config": {"rate_limit_rps": 0}},
            "config.rate_limit_rps: must be a number above 0 and at most 100000",
        ),
        (
            {"config": {"rate_limit_burst": 0.5}},
            "config.rate_limit_burst: must be a whole number of at least 1",
        ),
        ({"config": {"field_mapping": "meta"}}, "config.field_mapping: must be signal or pinterest"),
        ({"config": {"test_mode": 1}}, "config.test_mode: must be true or false"),
        (
            {"config": {"token_expires_at": "soon"}},
            "config.token_expires_at: must be a time in ISO 8601, like 2030-01-29T14:53:20Z",
        ),
        ({"config": {"acces_token": "x"}}, "config.acces_token: is not a setting of an integration"),
        (
            {"config": {"event_overrides": {"A": "no_such"}}},
            "config.event_overrides: for 'A' names 'no_such', which is neither Pinterest's event name nor yours",
        ),
    ],
)
def test_a_wrong_integration_is_refused_with_the_field_and_why(
    api: Api, source: dict[str, Any], wrong: dict[str, Any], sentence: str
) -> None:
    assert (422, sentence) == api.error("POST", PATH, body(**wrong))
    assert api.get(PATH)["data"] == []


@pytest.mark.parametrize("config", [None, [], "x", 5])
def test_a_config_is_an_object(api: Api, source: dict[str, Any], config: object) -> None:
    why = "must not be null" if config is None else "must be an object"

    assert (422, f"config: {why}") == api.error("POST", PATH, BODY | {"config": config})


def test_an_empty_body_is_told_what_is_missing_field_by_field(api: Api, source: dict[str, Any]) -> None:
    expected = (
        422,
        "name: is required; config.ad_account_id: is missing; config.access_token: is missing; source_id: is required",
    )

    assert expected == api.error("POST", PATH, {"config": {}})
    assert api.error("POST", PATH, {key: BODY[key] for key in ("source_id", "name", "config")}) == (
        422,
        "vendor: is required",
    )


def test_a_change_touches_what_is_given_and_nothing_else(api: Api, made: dict[str, Any]) -> None:
    given = {"enabled": False, "config": {"rate_limit_rps": 9.5, "field_mapping": "pinterest"}}
    with freeze_time("2030-01-01T00:00:00Z"):
        changed = api.change(f"{PATH}/{made['id']}", given)

    expected = made | {
        "enabled": False,
        "config": made["config"] | given["config"],
        "updated_at": "2030-01-01T00:00:00.000Z",
    }
    assert expected == changed == api.get(f"{PATH}/{made['id']}")


def test_null_takes_a_setting_back(api: Api, made: dict[str, Any]) -> None:
    path = f"{PATH}/{made['id']}"
    given = {"rate_limit_rps": 9, "field_mapping": "pinterest", "truncate_ip": True}
    api.change(path, {"config": given})

    assert made["config"] == api.change(path, {"config": dict.fromkeys(given)})["config"]


def credential(ledger: Ledger, integration_id: str) -> ad_accounts.Credential:
    with ledger.read() as connection:
        found = integrations.load_integration(connection, integration_id)
        assert found is not None
        return ad_accounts.find_credential(connection, found.credential_id)


def test_the_mask_sent_back_keeps_the_stored_token(api: Api, made: dict[str, Any], ledger: Ledger) -> None:
    before = credential(ledger, made["id"])
    api.change(f"{PATH}/{made['id']}", {"name": "Renamed", "config": {"access_token": "***"}})

    assert before == credential(ledger, made["id"])


def test_what_was_read_may_be_sent_back_and_changes_nothing(api: Api, made: dict[str, Any]) -> None:
    assert made == api.change(f"{PATH}/{made['id']}", made)
    assert api.get("/v1/admin/audit")["data"][0]["action"] == "integration.create"


def test_a_new_token_is_kept_and_resumes_a_paused_account(
    api: Api, made: dict[str, Any], ledger: Ledger
) -> None:
    with ledger.write() as connection:
        ad_accounts.pause_credential(
            connection, credential(ledger, made["id"]).id, "token", "refused", "delivery", 1.0
        )
    api.change(f"{PATH}/{made['id']}", {"config": {"access_token": "your_access_token"}})
    resumed = credential(ledger, made["id"])
    api.change(f"{PATH}/{made['id']}", {"config": {"access_token": "another"}})
    renewed = credential(ledger, made["id"])

    with ledger.read() as connection:
        assert ad_accounts.access_token(connection, ledger.vault, renewed.id) == "another"
    assert (resumed.paused_at, renewed.paused_at) == (None, None)


@pytest.mark.parametrize("field", ["id", "source_id", "vendor", "created_at", "updated_at"])
def test_what_is_fixed_cannot_be_changed(api: Api, made: dict[str, Any], field: str) -> None:
    expected = (422, f"{field}: cannot be changed")

    assert expected == api.error("PATCH", f"{PATH}/{made['id']}", {field: "another"})


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"config": {"ad_account_id": 5}}, f"config.ad_account_id: {ACCOUNT}"),
        ({"config": {"ad_account_id": None}}, "config.ad_account_id: is missing"),
        ({"config": {"access_token": None}}, "config.access_token: is missing"),
        ({"config": {"no_such": 1}}, "config.no_such: is not a setting of an integration"),
        ({"config": 5}, "config: must be an object"),
        ({"name": ""}, "name: must be 1 to 200 characters"),
        ({"enabled": None}, "enabled: must not be null"),
        ({"nme": "x"}, "nme: is not a known field"),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(
    api: Api, made: dict[str, Any], wrong: dict[str, Any], sentence: str
) -> None:
    assert (422, sentence) == api.error("PATCH", f"{PATH}/{made['id']}", wrong)
    assert made == api.get(f"{PATH}/{made['id']}")


def test_a_mistyped_ad_account_can_be_mended(api: Api, made: dict[str, Any]) -> None:
    changed = api.change(f"{PATH}/{made['id']}", {"config": {"ad_account_id": "42"}})

    assert made["config"] | {"ad_account_id": "42"} == changed["config"]


WAITS = (
    "still has unsent events for ad account 1234567890: 1, of which 0 are being sent. Discard them "
    "(?waiting=discard), or hand them over to another integration of the ad account (?waiting=hand_over)."
)


def test_another_ad_account_waits_until_nothing_is_left_for_the_old_one(
    api: Api, made: dict[str, Any], ledger: Ledger
) -> None:
    waits(ledger, made["id"])

    path, moved = f"{PATH}/{made['id']}", {"config": {"ad_account_id": "42"}}
    status, message = api.error("PATCH", path, moved)
    assert (status, message) == (409, f"{made['id']} {WAITS}")
    # A wrong configuration discards nothing.
    assert api.error("PATCH", f"{path}?waiting=discard", {"config": {"ad_account_id": "x"}})[0] == 422
    assert api.error("PATCH", path, moved)[0] == 409
    assert api.error("PATCH", f"{path}?waiting=now", moved) == (
        422,
        "waiting: must be refuse, discard or hand_over",
    )
    assert api.call("PATCH", f"{path}?waiting=discard", moved).status_code == 200


def test_two_integrations_of_a_source_cannot_end_up_on_one_ad_account(api: Api, made: dict[str, Any]) -> None:
    other = api.make(PATH, body(config={"ad_account_id": "42"}))

    expected = (409, f"src_abc123 delivers to ad account 1234567890 already, by {made['id']}.")
    given = {"config": {"ad_account_id": "1234567890"}}
    assert expected == api.error("PATCH", f"{PATH}/{other['id']}", given)


def test_a_deleted_integration_is_gone(api: Api, made: dict[str, Any]) -> None:
    answer = api.call("DELETE", f"{PATH}/{made['id']}")

    assert (answer.status_code, answer.data) == (204, b"")
    assert api.call("GET", f"{PATH}/{made['id']}").status_code == 404
    assert api.call("DELETE", f"{PATH}/{made['id']}").status_code == 404


def test_an_integration_with_waiting_events_goes_only_by_force(
    api: Api, made: dict[str, Any], ledger: Ledger
) -> None:
    waits(ledger, made["id"])
    path = f"{PATH}/{made['id']}"

    assert api.error("DELETE", path) == (409, f"{made['id']} {WAITS}")
    assert api.error("DELETE", f"{path}?force=yes") == (422, "force: must be true or false")
    assert api.call("DELETE", f"{path}?force=true").status_code == 204
    told = [entry["action"] for entry in api.get("/v1/admin/audit")["data"][:2]]
    assert told == ["integration.delete", "pending.discard"]


def test_many_waiting_events_go_in_several_transactions(
    api: Api, made: dict[str, Any], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one they would keep the collector from writing for as long as it takes."""
    for number in range(5):
        waits(ledger, made["id"], f"event{number}")
    monkeypatch.setattr("worker.operations.setup.integrations._DISCARDED_AT_ONCE", 2)
    assert api.call("DELETE", f"{PATH}/{made['id']}?force=true").status_code == 204
    told = api.get("/v1/admin/audit")["data"][:4]
    assert [entry["action"] for entry in told] == ["integration.delete"] + ["pending.discard"] * 3
    assert [entry["object"] for entry in told[1:]] == ["1 delivery", "2 deliveries", "2 deliveries"]
