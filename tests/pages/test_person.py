"""The page about one person's data asks before it erases, shows what it counted and serves an export as a file."""

import json

import pytest

from tests.pages.conftest import ACCOUNT, Pages, write
from worker.ledger.database import Ledger
from worker.ledger.setup.integrations import Integration

KIM = {"external_ids": "kim-4711"}


def test_an_erasure_needs_the_tick_and_is_recorded(pages: Pages) -> None:
    refused = pages.send("/people", KIM | {"action": "erase"})
    assert (refused.status_code, "Must be ticked to erase: it cannot be undone." in refused.text) == (
        422,
        True,
    )
    assert "No requests yet." in pages.get("/people")

    assert (
        "Erased 0 waiting events" in pages.send("/people", KIM | {"action": "erase", "confirmed": "yes"}).text
    )
    page = pages.get("/people")
    assert '<td data-of="Kind">erase</td>' in page
    assert "kim-4711" not in page


def test_a_count_changes_nothing_and_needs_no_tick(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    write(ledger, shop, "e1", user_key=ledger.vault.keyed_hash("user", "src_shop", "kim-4711"))
    for _ in range(2):
        page = pages.send("/people", KIM | {"action": "count"}).text
        assert "Kept of this person: 0 waiting events, 0 visitors, 1 delivery." in page


def test_an_export_is_a_file_of_json(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    write(ledger, shop, "e1", user_key=ledger.vault.keyed_hash("user", "src_shop", "kim-4711"))
    answer = pages.send("/people", KIM | {"action": "export"})
    assert answer.headers["Content-Disposition"] == 'attachment; filename="person.json"'
    assert ACCOUNT in answer.text
    assert len(json.loads(answer.text)["deliveries"]) == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"action": "count"}, "Must be given, or another identifier."),
        (KIM | {"action": "forget"}, "Must be one of the listed actions."),
        ({"email_hashes": "abc", "action": "count"}, "SHA-256"),
    ],
)
def test_what_is_missing_or_wrong_is_named(pages: Pages, given: dict[str, str], sentence: str) -> None:
    answer = pages.send("/people", given)
    assert (answer.status_code, sentence in answer.text) == (422, True)


def test_only_owners_open_it(editor: Pages) -> None:
    assert editor.client.get("/people").status_code == 403
    assert editor.send("/people", KIM | {"action": "count"}).status_code == 403
