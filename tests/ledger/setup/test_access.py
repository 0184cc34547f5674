"""Tokens have roles and open sessions."""

import pytest
from sqlalchemy.exc import IntegrityError

from tests.ledger.shop import NOW
from worker.ledger.database import Ledger
from worker.ledger.schema import api_token, ui_session
from worker.ledger.setup import access
from worker.ledger.setup.access import Role, Token
from worker.retention import SESSION_SECONDS


def made(ledger: Ledger, name: str = "Anna", role: Role = Role.EDITOR) -> tuple[Token, str]:
    with ledger.write() as connection:
        return access.insert_token(connection, ledger.vault, name, role, "test", NOW)


def test_a_token_is_found_by_its_text_and_kept_nowhere(ledger: Ledger) -> None:
    token, text = made(ledger)

    with ledger.read() as connection:
        assert access.token_by_hash(connection, access.token_hash(ledger.vault, text)) == token
        assert access.token_by_hash(connection, access.token_hash(ledger.vault, text + "x")) is None
        assert access.token_by_name(connection, "Anna") == token
        rows = connection.execute(api_token.select()).all()
    assert text not in str(rows)
    assert text.encode() not in rows[0].hash


def test_every_token_is_another_one_and_the_list_is_in_order(ledger: Ledger) -> None:
    texts = {made(ledger, name)[1] for name in ("one", "other", "third")}

    with ledger.read() as connection:
        assert {"one", "other", "third"} == {one.name for one in access.valid_tokens(connection)}
    assert len(texts) == 3


def test_a_name_is_unique(ledger: Ledger) -> None:
    made(ledger)

    with pytest.raises(IntegrityError):
        made(ledger)


def test_a_session_expires(ledger: Ledger) -> None:
    hashed = access.token_hash(ledger.vault, made(ledger)[1])
    with ledger.write() as connection:
        cookie = access.open_session(connection, ledger.vault, hashed, NOW)

    with ledger.read() as connection:
        last = NOW + SESSION_SECONDS
        assert access.token_of_session(connection, ledger.vault, cookie, last - 1) == hashed
        assert access.token_of_session(connection, ledger.vault, cookie, last) is None
        assert access.token_of_session(connection, ledger.vault, "made up", NOW) is None


def test_a_session_that_was_closed_opens_nothing(ledger: Ledger) -> None:
    with ledger.write() as connection:
        cookie = access.open_session(connection, ledger.vault, b"hash", NOW)
        other = access.open_session(connection, ledger.vault, b"hash", NOW)
        access.close_session(connection, ledger.vault, cookie)

    with ledger.read() as connection:
        assert access.token_of_session(connection, ledger.vault, cookie, NOW) is None
        assert access.token_of_session(connection, ledger.vault, other, NOW) == b"hash"


def test_revoking_ends_the_sessions_too(ledger: Ledger) -> None:
    token, text = made(ledger)
    with ledger.write() as connection:
        hashed = access.token_hash(ledger.vault, text)
        cookie = access.open_session(connection, ledger.vault, hashed, NOW)
        assert access.remove_token(connection, token.id) == token
        assert access.remove_token(connection, token.id) is None

    with ledger.read() as connection:
        assert access.token_of_session(connection, ledger.vault, cookie, NOW) is None
        assert access.valid_tokens(connection) == []


def test_expired_sessions_are_deleted(ledger: Ledger) -> None:
    with ledger.write() as connection:
        for day in range(3):
            access.open_session(connection, ledger.vault, b"hash", NOW + day * 86_400)

    with ledger.read() as connection:
        assert len(connection.execute(ui_session.select()).all()) == 1
