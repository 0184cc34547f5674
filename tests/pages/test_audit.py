"""The audit log goes back page by page."""

from tests.pages.conftest import Pages
from worker.ledger.database import Ledger
from worker.ledger.setup import audit_log
from worker.pages.routes.audit import _ENTRIES_A_PAGE


def test_the_audit_log_goes_back_page_by_page(pages: Pages, ledger: Ledger) -> None:
    with ledger.write() as connection:
        for number in range(_ENTRIES_A_PAGE + 5):
            changes = {"name": ["old", f"new {number}"], "on": [None, True]}
            audit_log.append_audit_entry(
                connection, float(number), "Anna", "source.change", f"src_{number}", changes
            )
    first = pages.get("/audit")
    (older,) = [part.partition('"')[0] for part in first.split('href="/audit?before=')[1:]]

    assert f"src_{_ENTRIES_A_PAGE + 4}" in first
    assert "old → new" in first
    assert "none → true" in first
    assert "src_0<" in pages.get(f"/audit?before={older}")
