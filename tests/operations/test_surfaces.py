"""An action has the same result and the same audit row from the API, the pages and the command line."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from tests.operations.surfaces import ACCOUNT, ACTORS, API, PAGES, SHELL, World
from worker.ledger.setup import access
from worker.ledger.setup.sources import ALERT_THRESHOLDS

Act = Callable[[World], None]
Audited = list[tuple[str, str, Any]]
NO_ROWS: Audited = []

REASON = {"reason": "Legal asked."}
SOURCE = {
    "name": "shop",
    "domains": "shop.example.com",
    "consent_browser": "drop",
    "consent_server": "allow",
    **dict.fromkeys(("dfid", "pin_unauth", "epik", "secure_cookies"), "yes"),
}
INTEGRATION = {
    "name": "shop",
    "ad_account_id": ACCOUNT,
    "consent_categories": ["advertising"],
    "rate_limit_rps": "100",
    "rate_limit_burst": "200",
    "field_mapping": "signal",
    "clean_free_text": "yes",
    "dedupe_by_business_id": "yes",
}
NEW_USER = {"name": "Eve", "role": "editor", "password": "correct horse battery"}
NEW_CONFIG = {"ad_account_id": "42", "access_token": "pina_new"}


@dataclass(frozen=True, slots=True)
class Action:
    """Hold one action: how each surface does it, and what it writes into the audit log."""

    name: str
    audited: Audited
    by: dict[str, Act]
    prepare: Act = lambda _: None
    refused: bool = False


def on_accounts(path: str, body: Any = None, method: str = "POST") -> Act:
    return lambda world: world.call(method, f"accounts/{ACCOUNT}{path}", body)


def on_source(path: str = "", body: Any = None, method: str = "POST", name: str = "src_shop") -> Act:
    return lambda world: world.call(method, f"sources/{name}{path}", body)


def on_integration(path: str = "", body: Any = None, method: str = "PATCH") -> Act:
    return lambda world: world.call(method, f"integrations/{world.integrations['shop']}{path}", body)


def page(path: str, **fields: Any) -> Act:
    return lambda world: world.send(path, **fields)


def integration_page(path: str, **fields: Any) -> Act:
    return lambda world: world.send(f"/integrations/{world.integrations['shop']}{path}", **fields)


def shell(*arguments: str) -> Act:
    return lambda world: world.shell(*arguments)


def revoke_on_page(world: World) -> None:
    with world.ledger.read() as connection:
        (anna,) = access.valid_tokens(connection)
    world.send(f"/access/{anna.id}/revoke")


def user_id(world: World) -> str:
    with world.ledger.read() as connection:
        return access.all_users(connection)[0].id


def pause_one(world: World) -> None:
    """Let the delivery pause one of the two access tokens."""
    with world.ledger.write() as connection:
        connection.execute(text(PAUSE_FIRST))


PAUSE_FIRST = (
    "UPDATE credential SET paused_at = 1, paused_by = 'delivery', paused_class = 'unauthorized', "
    "paused_reason = 'HTTP 401' WHERE id = (SELECT min(id) FROM credential)"
)
PAUSED = on_accounts("/pause", REASON)
RESUME = {
    API: on_accounts("/resume"),
    PAGES: integration_page("/paused", paused="no"),
    SHELL: shell("accounts", "resume", ACCOUNT),
}
PAUSE = {
    API: PAUSED,
    PAGES: integration_page("/paused", paused="yes", **REASON),
    SHELL: shell("accounts", "pause", ACCOUNT, "--reason", "Legal asked."),
}
PAUSE_ROW = ("account.pause", ACCOUNT, {"reason": [None, "Legal asked."]})

ACTIONS = [
    Action("pause both access tokens", [PAUSE_ROW], PAUSE),
    Action("pause where one token is paused already", [PAUSE_ROW], PAUSE, pause_one),
    Action("pause what is paused", NO_ROWS, PAUSE, PAUSED),
    Action(
        "pause without a reason",
        [("account.pause", ACCOUNT, {"reason": [None, "Paused manually."]})],
        {
            API: on_accounts("/pause"),
            PAGES: integration_page("/paused", paused="yes"),
            SHELL: shell("accounts", "pause", ACCOUNT),
        },
    ),
    Action("resume", [("account.resume", ACCOUNT, {"reason": ["Legal asked.", None]})], RESUME, PAUSED),
    Action(
        "resume where one token is paused",
        [("account.resume", ACCOUNT, {"reason": ["HTTP 401", None]})],
        RESUME,
        pause_one,
    ),
    Action("resume what runs", NO_ROWS, RESUME),
    Action(
        "set a rate",
        [("account.rate", ACCOUNT, {"rate_limit_rps": [100.0, 7.5], "rate_limit_burst": [200, 9]})],
        {
            API: on_accounts("", {"rate_limit_rps": 7.5, "rate_limit_burst": 9}, "PATCH"),
            SHELL: shell("accounts", "rate", ACCOUNT, "7.5", "9"),
        },
    ),
    Action(
        "set half of a rate",
        [("account.rate", ACCOUNT, {"rate_limit_burst": [200, 9]})],
        {
            API: on_accounts("", {"rate_limit_burst": 9}, "PATCH"),
            SHELL: shell("accounts", "rate", ACCOUNT, "100", "9"),
        },
    ),
    Action(
        "set the rate that holds",
        NO_ROWS,
        {
            API: on_accounts("", {"rate_limit_rps": 100, "rate_limit_burst": 200}, "PATCH"),
            SHELL: shell("accounts", "rate", ACCOUNT, "100", "200"),
        },
    ),
    Action(
        "add a user",
        [("user.create", "Eve (usr_*)", {"role": [None, "editor"]})],
        {
            API: lambda world: world.call("POST", "users", NEW_USER),
            PAGES: page("/access/users", user_name="Eve", user_role="editor", password=NEW_USER["password"]),
            SHELL: shell("access", "add", "Eve", "--role", "editor", "--password", NEW_USER["password"]),
        },
    ),
    Action(
        "add a user whose password is too short",
        NO_ROWS,
        {
            API: lambda world: world.call("POST", "users", NEW_USER | {"password": "short"}),
            PAGES: page("/access/users", user_name="Eve", user_role="editor", password="short"),
            SHELL: shell("access", "add", "Eve", "--password", "short"),
        },
        refused=True,
    ),
    Action(
        "disable a user",
        [("user.change", "Eve (usr_*)", {"enabled": [True, False]})],
        {
            API: lambda world: world.call("PATCH", "users/eve", {"enabled": False}),
            PAGES: lambda world: world.send(f"/access/users/{user_id(world)}", action="disable"),
            SHELL: shell("access", "change", "eve", "--disable"),
        },
        lambda world: world.api.make("/v1/admin/users", NEW_USER),
    ),
    Action(
        "let a user's access end",
        [("user.change", "Eve (usr_*)", {"role": ["editor", "owner"], "expires_at": [None, "TIME"]})],
        {
            API: lambda world: world.call(
                "PATCH", "users/Eve", {"role": "owner", "expires_at": "2999-01-29T00:00:00Z"}
            ),
            PAGES: lambda world: world.send(
                f"/access/users/{user_id(world)}", role="owner", expires_at="2999-01-29"
            ),
            SHELL: shell("access", "change", "Eve", "--role", "owner", "--expires", "2999-01-29"),
        },
        lambda world: world.api.make("/v1/admin/users", NEW_USER),
    ),
    Action(
        "remove a user",
        [("user.remove", "Eve (usr_*)", {"role": ["editor", None]})],
        {
            API: lambda world: world.call("DELETE", "users/Eve"),
            PAGES: lambda world: world.send(f"/access/users/{user_id(world)}", action="remove"),
            SHELL: shell("access", "remove", "Eve"),
        },
        lambda world: world.api.make("/v1/admin/users", NEW_USER),
    ),
    Action(
        "remove a user that does not exist",
        NO_ROWS,
        {
            API: lambda world: world.call("DELETE", "users/usr_none"),
            PAGES: page("/access/users/usr_none", action="remove"),
            SHELL: shell("access", "remove", "usr_none"),
        },
        refused=True,
    ),
    Action(
        "create a token",
        [("token.create", "Eve (tok_*)", {"role": [None, "editor"]})],
        {
            PAGES: page("/access", name="Eve", role="editor"),
            SHELL: shell("tokens", "create", "Eve", "--role", "editor"),
        },
    ),
    Action(
        "create a token whose name is taken",
        NO_ROWS,
        {
            PAGES: page("/access", name="Anna", role="editor"),
            SHELL: shell("tokens", "create", "Anna", "--role", "editor"),
        },
        refused=True,
    ),
    Action(
        "revoke a token",
        [("token.revoke", "Anna (tok_*)", {"role": ["viewer", None]})],
        {PAGES: revoke_on_page, SHELL: shell("tokens", "revoke", "Anna")},
    ),
    Action(
        "revoke a token that does not exist",
        NO_ROWS,
        {PAGES: page("/access/tok_none/revoke"), SHELL: shell("tokens", "revoke", "tok_none")},
        refused=True,
    ),
    Action(
        "create a source",
        [
            (
                "source.create",
                "src_*",
                {
                    "name": [None, "New"],
                    "domains": [None, ["shop.example.com"]],
                    "pipeline_key": [None, "dk_live_*"],
                    "default_consent.browser": [None, "drop"],
                    "default_consent.server": [None, "allow"],
                    "consent_groups.advertising": [None, []],
                    "consent_groups.marketing": [None, []],
                    "consent_groups.analytics": [None, []],
                    "consent_groups.functional": [None, []],
                    "cookies.dfid": [None, True],
                    "cookies.pin_unauth": [None, True],
                    "cookies.epik": [None, True],
                    "secure_cookies": [None, True],
                    "signed_only_events": [None, []],
                    "allow_null_origin": [None, False],
                    "query_views": [None, False],
                    **{f"alert_thresholds.{name}": [None, n] for name, n in ALERT_THRESHOLDS.items()},
                    "server_secret": [None, "***"],
                },
            )
        ],
        {
            API: lambda world: world.call(
                "POST", "sources", {"name": "New", "domains": ["shop.example.com"]}
            ),
            PAGES: page("/sources/add", **(SOURCE | {"name": "New"})),
        },
    ),
    Action(
        "change a source",
        [("source.change", "src_shop", {"name": ["shop", "Store"], "cookies.epik": [True, False]})],
        {
            API: on_source("", {"name": "Store", "cookies": {"epik": False}}, "PATCH"),
            PAGES: page("/sources/src_shop/change", **(SOURCE | {"name": "Store", "epik": ""})),
        },
    ),
    Action(
        "change nothing of a source",
        NO_ROWS,
        {
            API: on_source("", {"name": "shop", "domains": ["shop.example.com"]}, "PATCH"),
            PAGES: page("/sources/src_shop/change", **SOURCE),
        },
    ),
    Action(
        "make a new pipeline key",
        [
            (
                "source.rotate_key",
                "src_shop",
                {"pipeline_key": ["dk_live_*", "dk_live_*"], "old_keys_end_at": [None, "TIME"]},
            )
        ],
        {
            API: on_source("/pipeline-key", {"overlap_hours": 2}),
            PAGES: page("/sources/src_shop/pipeline-key", overlap_hours="2"),
        },
    ),
    Action(
        "make a new server secret",
        [("source.rotate_secret", "src_shop", {"server_secret": ["***", "***"]})],
        {API: on_source("/server-secret"), PAGES: page("/sources/src_shop/server-secret")},
    ),
    Action(
        "delete a source that has integrations",
        NO_ROWS,
        {API: on_source(method="DELETE"), PAGES: page("/sources/src_shop/delete")},
        refused=True,
    ),
    Action(
        "create an integration",
        [
            (
                "integration.create",
                "int_*",
                {
                    "source_id": [None, "src_vacant"],
                    "vendor": [None, "pinterest"],
                    "name": [None, "New"],
                    "enabled": [None, True],
                    "config.ad_account_id": [None, "42"],
                    "config.access_token": [None, "***"],
                    "config.rate_limit_rps": [None, 100.0],
                    "config.rate_limit_burst": [None, 200],
                    "config.field_mapping": [None, "signal"],
                    "config.test_mode": [None, False],
                    "consent_categories": [None, ["advertising"]],
                },
            )
        ],
        {
            API: lambda world: world.call(
                "POST",
                "integrations",
                {"source_id": "src_vacant", "type": "pinterest", "name": "New", "config": NEW_CONFIG},
            ),
            PAGES: page(
                "/integrations/add/pinterest",
                **(INTEGRATION | NEW_CONFIG | {"source_id": "src_vacant", "name": "New"}),
            ),
        },
    ),
    Action(
        "create a second integration for one ad account",
        NO_ROWS,
        {
            API: lambda world: world.call(
                "POST",
                "integrations",
                {
                    "source_id": "src_shop",
                    "vendor": "pinterest",
                    "name": "New",
                    "config": NEW_CONFIG | {"ad_account_id": ACCOUNT},
                },
            ),
            PAGES: page(
                "/integrations/add/pinterest",
                **(INTEGRATION | {"source_id": "src_shop", "access_token": "pina_new"}),
            ),
        },
        refused=True,
    ),
    Action(
        "change an integration",
        [("integration.change", "int_*", {"name": ["shop", "Store"], "config.test_mode": [False, True]})],
        {
            API: on_integration("", {"name": "Store", "config": {"test_mode": True}}),
            PAGES: integration_page("/change", **(INTEGRATION | {"name": "Store", "test_mode": "yes"})),
        },
    ),
    Action(
        "change nothing of an integration",
        NO_ROWS,
        {
            API: on_integration("", {"name": "shop", "config": {"access_token": "***"}}),
            PAGES: integration_page("/change", **INTEGRATION),
        },
    ),
    Action(
        "give a new access token",
        [("integration.change", "int_*", {"config.access_token": ["***", "***"]})],
        {
            API: on_integration("", {"config": {"access_token": "pina_new"}}),
            PAGES: integration_page("/change", **(INTEGRATION | {"access_token": "pina_new"})),
        },
        pause_one,
    ),
    Action(
        "switch an integration off",
        [("integration.change", "int_*", {"enabled": [True, False]})],
        {
            API: on_integration("", {"enabled": False}),
            PAGES: integration_page("/enabled", enabled="no"),
        },
    ),
    Action(
        "switch on what is on",
        NO_ROWS,
        {API: on_integration("", {"enabled": True}), PAGES: integration_page("/enabled", enabled="yes")},
    ),
]


@pytest.mark.parametrize("action", ACTIONS, ids=[action.name for action in ACTIONS])
def test_an_action_has_one_result_and_one_audit_row_from_every_surface(
    make_world: Callable[[], World], action: Action
) -> None:
    states = []
    for surface, act in action.by.items():
        world = make_world()
        action.prepare(world)
        before, told_before = world.state(), len(world.audited())
        act(world)
        rows = [(ACTORS[surface], *row) for row in action.audited]
        assert (surface, world.refused, world.audited()[told_before:]) == (surface, action.refused, rows)
        states.append(world.state())
        # What writes no audit row changes nothing, and what changes something writes one.
        is_masked = "secret" in action.name or "access token" in action.name
        assert is_masked or (states[-1] == before) == (not rows)
    assert all(state == states[0] for state in states)


@pytest.mark.parametrize("surface", [API, PAGES, SHELL])
def test_a_pause_holds_for_every_access_token_of_an_ad_account(
    make_world: Callable[[], World], surface: str
) -> None:
    """Two integrations with a token each deliver to one ad account: none of them sends any more."""
    world = make_world()
    PAUSE[surface](world)

    (account,) = world.state()["accounts"]
    assert (account["state"], account["reason"]) == ("paused", "Legal asked.")
    assert [one["paused_class"] for one in account["credentials"]] == ["by_hand", "by_hand"]
    RESUME[surface](world)
    (account,) = world.state()["accounts"]
    assert [one["state"] for one in account["credentials"]] == ["running", "running"]
