"""What is wrong, over HTTP and on the overview."""

import pytest

from tests.api.conftest import Api
from tests.ledger.shop import NOW, place
from tests.pages.conftest import Pages
from worker.alerts import lifecycle
from worker.ledger.database import Ledger
from worker.ledger.reports import measures
from worker.ledger.setup import ad_accounts


@pytest.fixture
def refused(ledger: Ledger) -> None:
    """Have a token that Pinterest refuses, and a watch that found it."""
    ledger.vault.prepare()
    shop = place(ledger)
    with ledger.write() as connection:
        ad_accounts.pause_credential(
            connection, shop.credential_id, "unauthorized", "<b>Token</b> gone.", "delivery", NOW
        )
        for name in (measures.BATCHER, measures.SWEEPER):
            measures.record_heartbeat(connection, name, NOW)
    lifecycle.check_figures(ledger, lambda: 10**12, NOW, to_webhook=False)


@pytest.mark.usefixtures("refused")
def test_what_is_wrong_is_shown_with_what_to_do(api: Api) -> None:
    answer = api.get("/v1/admin/alerts")

    assert answer["firing"] == [
        {
            "rule": "token_refused",
            "subject": "549765662491",
            "severity": "critical",
            "summary": "Pinterest refuses ad account 549765662491 (unauthorized): <b>Token</b> gone.",
            "what_to_do": "Create an access token in Ads Manager and enter it in the integration: "
            "sending resumes by itself.",
            "since": "2025-06-15T15:06:40.000Z",
            "fired_at": "2025-06-15T15:06:40.000Z",
        }
    ]
    (notice,) = answer["recent"]
    assert (notice["change"], notice["told_at"], notice["attempts"]) == ("fired", None, 0)


def test_nothing_wrong_is_an_empty_list(api: Api) -> None:
    assert api.get("/v1/admin/alerts") == {"firing": [], "recent": []}


@pytest.mark.usefixtures("refused")
def test_the_overview_shows_it_first(app: object, api: Api) -> None:
    pages = Pages(api.client)
    pages.sign_in()
    page = pages.get("/")

    assert "Needs attention" in page
    assert "Create an access token in Ads Manager" in page
    assert "&lt;b&gt;Token&lt;/b&gt; gone." in page
    assert "Needs attention" in pages.get("/overview/figures")


def test_the_overview_is_quiet_where_nothing_is_wrong(api: Api) -> None:
    pages = Pages(api.client)
    pages.sign_in()

    assert "Needs attention" not in pages.get("/")
