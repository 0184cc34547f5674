"""Integrations keep their token sealed, accept a new one, and do not hang at midnight."""

import time
from dataclasses import replace

import pytest
from freezegun import freeze_time
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from tests.ledger.shop import NOW, RATE, TOKEN, pend, place
from worker.ledger.database import Ledger
from worker.ledger.delivery import ownership
from worker.ledger.schema import ad_account, credential, integration, source
from worker.ledger.setup import ad_accounts, integrations, sources
from worker.ledger.setup.ad_accounts import MANUAL, AccountRateLimit
from worker.ledger.setup.integrations import Integration


def change(
    ledger: Ledger, shop: Integration, token: str | None = None, rate: AccountRateLimit = RATE
) -> Integration:
    with ledger.write() as connection:
        return integrations.update_integration(
            connection, ledger.vault, shop, rate=rate, new_token=token, now=NOW + 1
        )


def test_an_integration_reads_back_as_it_was_made(ledger: Ledger) -> None:
    made = place(ledger, field_mapping="pinterest")
    with ledger.read() as connection:
        assert integrations.load_integration(connection, made.id) == made
        assert integrations.load_integration(connection, "int_nobody") is None
        assert (
            integrations.integrations_of_source(connection, "src_shop")
            == [made]
            == integrations.integrations_after(connection, 10)
        )
        assert integrations.integrations_after(connection, 10, made.number) == []
        assert integrations.rate_limits(connection, [made.ad_account_id, "1"]) == {made.ad_account_id: RATE}


def test_a_second_one_for_the_same_ad_account_is_refused(ledger: Ledger) -> None:
    place(ledger)
    with pytest.raises(IntegrityError):
        place(ledger)


def test_no_token_is_in_the_database_in_clear(ledger: Ledger) -> None:
    place(ledger)
    with ledger.read() as connection:
        for table in (integration, credential, source):
            rows = connection.execute(select(table)).all()
            assert TOKEN not in repr(rows)
            assert TOKEN.encode() not in b"".join(
                bytes(x) for row in rows for x in row if isinstance(x, bytes)
            )


def paused_class(ledger: Ledger, where: Integration) -> str | None:
    with ledger.read() as connection:
        return ad_accounts.find_credential(connection, where.credential_id).paused_class


def set_paused(ledger: Ledger, where: Integration, paused: str | None) -> None:
    with ledger.write() as connection:
        if paused is None:
            assert ad_accounts.resume_credential(connection, where.credential_id, now=NOW)
        else:
            assert ad_accounts.pause_credential(
                connection, where.credential_id, paused, "Legal asked.", "kim", NOW
            )


def test_a_new_token_does_not_end_a_manual_pause(ledger: Ledger) -> None:
    shop = place(ledger)
    set_paused(ledger, shop, "unauthorized")
    # A manual pause replaces delivery's own, which a new token would end.
    set_paused(ledger, shop, MANUAL)
    new = change(ledger, shop, "pina_the_next_token")
    assert new.credential_id != shop.credential_id
    assert paused_class(ledger, new) == MANUAL
    assert paused_class(ledger, change(ledger, new, "pina_the_next_token")) == MANUAL
    # A token that another shop uses for the same ad account does not end it either.
    assert paused_class(ledger, place(ledger, "src_other", token="pina_of_the_other")) == MANUAL
    set_paused(ledger, new, None)
    # The old token was paused with the rest. It is used again, so its pause has ended.
    assert paused_class(ledger, change(ledger, new, TOKEN)) is None


def test_a_manual_pause_of_one_token_leaves_the_others_of_its_ad_account_alone(ledger: Ledger) -> None:
    stopped, running = place(ledger), place(ledger, "src_other", token="pina_of_the_other")
    set_paused(ledger, stopped, MANUAL)
    assert paused_class(ledger, change(ledger, running, "pina_the_next_token")) is None
    assert paused_class(ledger, stopped) == MANUAL
    # Giving the paused token to another integration does not end its pause.
    assert paused_class(ledger, change(ledger, running, TOKEN)) == MANUAL


def test_a_new_token_resumes_its_account_and_the_old_one_stays_paused(ledger: Ledger) -> None:
    shop = place(ledger)
    with ledger.write() as connection:
        ad_accounts.pause_credential(
            connection, shop.credential_id, "unauthorized", "HTTP 401", "delivery", NOW
        )
    assert change(ledger, shop).credential_id == shop.credential_id
    with ledger.read() as connection:
        assert ad_accounts.find_credential(connection, shop.credential_id).paused_at is not None
    new = change(ledger, shop, "pina_the_next_token")
    with ledger.read() as connection:
        assert ad_accounts.find_credential(connection, new.credential_id).paused_at is None
        assert ad_accounts.access_token(connection, ledger.vault, new.credential_id) == "pina_the_next_token"
        assert [one.id for one in ad_accounts.used_credentials(connection)] == [new.credential_id]
    # Giving the same token again resumes it.
    with ledger.write() as connection:
        ad_accounts.pause_credential(
            connection, new.credential_id, "unauthorized", "HTTP 401", "delivery", NOW
        )
    change(ledger, new, "pina_the_next_token")
    with ledger.read() as connection:
        assert ad_accounts.find_credential(connection, new.credential_id).paused_at is None


def test_a_change_writes_the_new_values_and_the_new_rate(ledger: Ledger) -> None:
    shop = place(ledger)
    changed = change(ledger, replace(shop, name="Renamed", enabled=False), rate=AccountRateLimit(7.0, 8))
    with ledger.read() as connection:
        assert integrations.load_integration(connection, shop.id) == changed
        kept = connection.execute(select(ad_account)).one()
    assert (changed.name, changed.enabled, changed.updated_at) == ("Renamed", False, NOW + 1)
    assert (kept.rate_limit_rps, kept.rate_limit_burst) == (7.0, 8)


def test_only_a_source_without_integrations_is_deleted(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 1)
    with ledger.write() as connection:
        assert not sources.remove_source(connection, "src_shop")
        assert ownership.count_unsent(connection, shop.number).pending
        integrations.remove_integration(connection, shop.number)
        assert sources.remove_source(connection, "src_shop")
        assert sources.source_of_key(connection, "dk_live_src_shop", NOW) is None


def test_creating_and_changing_at_midnight_do_not_wait(sqlite_ledger: Ledger) -> None:
    """Both seal a token inside a write, and a new day's key needs a write of its own."""
    with freeze_time("2026-01-01 23:59:59"):
        sqlite_ledger.vault.prepare()
    began = time.monotonic()
    with freeze_time("2026-01-02 00:00:01"):
        shop = place(sqlite_ledger)
        changed = change(sqlite_ledger, shop, "pina_the_next_token")
        with sqlite_ledger.write() as connection:
            sources.set_server_secret(connection, sqlite_ledger.vault, "src_shop", "whsec_new", NOW)
            assert sources.load_signer(connection, sqlite_ledger.vault, "src_shop").secret == "whsec_new"
    assert time.monotonic() - began < 5
    with sqlite_ledger.read() as connection:
        assert (
            ad_accounts.access_token(connection, sqlite_ledger.vault, changed.credential_id)
            == "pina_the_next_token"
        )
