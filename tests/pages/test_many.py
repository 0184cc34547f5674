"""With more integrations than a page of the ledger holds, every page and alert still counts all of them."""

from pathlib import Path
from typing import Any

import pytest

from tests.alerts.test_lifecycle_in_ledger import firing, watch
from tests.api.conftest import Api
from tests.ledger.crowd import MANY, many, statements
from tests.ledger.shop import NOW, new, write
from tests.pages.conftest import Pages
from worker.ledger import migrate
from worker.ledger.database import Ledger
from worker.ledger.setup import integrations
from worker.ledger.setup.integrations import Integration
from worker.operations.caller import Caller
from worker.operations.deliveries.find import find_by_id
from worker.operations.setup import token_expiry


@pytest.fixture(scope="module")
def laid_down(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the integrations once, to be copied."""
    path = tmp_path_factory.mktemp("crowd") / "signal.db"
    made = Ledger(f"sqlite:///{path}", ("00" * 32,))
    migrate.migrate(made)
    many(made, token_expires_at="2025-06-01T00:00:00Z")
    made.dispose()
    return path


@pytest.fixture
def crowd(ledger: Ledger) -> list[Integration]:
    with ledger.read() as connection:
        return list(integrations.iterate_integrations(connection))


def test_the_token_of_the_last_integration_raises_an_alert(ledger: Ledger, crowd: list[Integration]) -> None:
    with statements(ledger) as seen:
        watch(ledger, NOW)

    assert firing(ledger) == [f"token_expiring {crowd[-1].id}"]
    assert len(seen) < 40


def test_the_overview_counts_what_waits_for_the_last_ad_account(
    ledger: Ledger, crowd: list[Integration], pages: Pages
) -> None:
    write(ledger, [new(ledger, crowd[-1], f"e{number}") for number in range(7)])
    with statements(ledger) as seen:
        page = pages.get("/")

    assert page.count(">ad account 1") == MANY
    last = page.partition(f">ad account {crowd[-1].ad_account_id}")[2]
    assert "<dt>Pending</dt><dd>7</dd>" in last
    assert len(seen) < 40


def test_an_account_shows_what_waits_for_it_and_when_its_token_ends(
    ledger: Ledger, crowd: list[Integration], api: Api
) -> None:
    write(ledger, [new(ledger, crowd[-1], f"e{number}") for number in range(7)])
    shown: dict[str, Any] = api.get(f"/v1/admin/accounts/{crowd[-1].ad_account_id}")
    assert shown["pending"] == 7
    with ledger.read() as connection:
        assert list(token_expiry.ends_by_credential(connection)) == [crowd[-1].credential_id]


def test_an_order_of_the_last_source_is_found(ledger: Ledger, crowd: list[Integration]) -> None:
    key = ledger.vault.keyed_hash("order", crowd[-1].source_id, "ORD-1")
    write(ledger, [new(ledger, crowd[-1], "e1", order_key=key)])

    assert [found.event_id for found in find_by_id(Caller(ledger, "kim", NOW), "ORD-1").deliveries] == ["e1"]


@pytest.mark.parametrize("path", ["/events", "/sales", "/explain"])
def test_the_last_source_can_be_chosen(
    ledger: Ledger, crowd: list[Integration], pages: Pages, path: str
) -> None:
    assert f'<option value="{crowd[-1].source_id}">' in pages.get(path)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/integrations", '<a href="/integrations/{0.id}">'),
        ("/sources", '<a href="/sources/{0.source_id}">'),
        ("/integrations/add/pinterest", '<option value="{0.source_id}"'),
    ],
)
def test_the_last_one_is_listed(
    ledger: Ledger, crowd: list[Integration], pages: Pages, path: str, shown: str
) -> None:
    assert shown.format(crowd[-1]) in pages.get(path)
