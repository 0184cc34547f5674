"""The last days of a report are those of the shop's time zone."""

import pytest

from worker.ledger.database import Ledger
from worker.ledger.setup import sources
from worker.ledger.setup.sources import Source
from worker.operations.caller import Caller
from worker.operations.deliveries.selection import last_days

DAY = 20_000
HOUR = 3_600


@pytest.mark.parametrize(
    ("zones", "source_id", "hour", "days", "expected"),
    [
        ((), None, 12, 7, (DAY - 6, DAY)),
        ((None,), None, 0, 1, (DAY, DAY)),
        (("Asia/Tokyo",), None, 14, 1, (DAY, DAY)),
        (("Asia/Tokyo",), None, 15, 1, (DAY + 1, DAY + 1)),
        (("America/Los_Angeles",), None, 6, 1, (DAY - 1, DAY - 1)),
        (("America/Los_Angeles",), None, 12, 7, (DAY - 6, DAY)),
        (("America/Los_Angeles", "Asia/Tokyo"), None, 6, 1, (DAY - 1, DAY)),
        (("America/Los_Angeles", "Asia/Tokyo"), "src_1", 15, 1, (DAY + 1, DAY + 1)),
        (("Asia/Tokyo",), "src_unknown", 15, 1, (DAY, DAY)),
    ],
)
def test_the_last_days_end_with_today_in_the_shop(
    ledger: Ledger,
    zones: tuple[str | None, ...],
    source_id: str | None,
    hour: int,
    days: int,
    expected: tuple[int, int],
) -> None:
    ledger.vault.prepare()
    with ledger.write() as connection:
        for number, zone in enumerate(zones):
            options = {"time_zone": zone} if zone else {}
            source = Source(f"src_{number}", "Shop", (), created_at=1.0, updated_at=1.0, options=options)
            sources.insert_source(connection, ledger.vault, source, f"dk_live_{number}", "secret")
    caller = Caller(ledger, "test", DAY * 24.0 * HOUR + hour * HOUR)
    assert last_days(caller, days, source_id) == expected
