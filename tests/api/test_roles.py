"""What a token may do at the API depends on its role."""

import time
from unittest.mock import patch

import pytest
from flask import Flask

from worker.api import auth
from worker.ledger.database import Ledger
from worker.ledger.setup import access, audit_log
from worker.ledger.setup.access import Role

SOURCE = {"name": "Shop", "domain": "shop.example.com"}


def token(ledger: Ledger, role: Role) -> tuple[str, str]:
    ledger.vault.prepare()
    with ledger.write() as connection:
        made, text = access.insert_token(connection, ledger.vault, "Anna", role, "test", time.time())
    return made.id, text


@pytest.mark.parametrize(
    ("role", "reads", "writes"), [(Role.VIEWER, 200, 403), (Role.EDITOR, 200, 201), (Role.OWNER, 200, 201)]
)
def test_viewers_look_and_the_others_change(
    app: Flask, ledger: Ledger, role: Role, reads: int, writes: int
) -> None:
    client, headers = app.test_client(), {"Authorization": f"Bearer {token(ledger, role)[1]}"}

    assert client.get("/v1/admin/sources", headers=headers).status_code == reads
    assert client.post("/v1/admin/sources", headers=headers, json=SOURCE).status_code == writes


def test_the_audit_log_names_the_holder(app: Flask, ledger: Ledger) -> None:
    made, text = token(ledger, Role.EDITOR)
    app.test_client().post("/v1/admin/sources", headers={"Authorization": f"Bearer {text}"}, json=SOURCE)

    with ledger.read() as connection:
        assert audit_log.newest_audit_entries(connection, 1)[0]["actor"] == f"Anna ({made})"


def test_a_revoked_token_is_worthless_at_once(app: Flask, ledger: Ledger) -> None:
    made, text = token(ledger, Role.OWNER)
    headers = {"Authorization": f"Bearer {text}"}
    assert app.test_client().get("/v1/admin/sources", headers=headers).status_code == 200
    with ledger.write() as connection:
        access.remove_token(connection, made)

    assert app.test_client().get("/v1/admin/sources", headers=headers).status_code == 401


def test_too_many_wrong_tokens_are_refused_and_a_right_one_from_the_same_address_is_not(
    ledger: Ledger, app: Flask
) -> None:
    with patch.object(auth, "_MOST_WRONG_TOKENS", 3):
        from worker.web.management import create_app

        client = create_app(ledger, app.extensions["signal-management"].settings).test_client()
    wrong = {"Authorization": "Bearer wrong"}
    statuses = [client.get("/v1/admin/sources", headers=wrong).status_code for _ in range(4)]

    assert statuses == [401, 401, 401, 429]
    right = {"Authorization": f"Bearer {token(ledger, Role.VIEWER)[1]}"}
    assert client.get("/v1/admin/sources", headers=right).status_code == 200
