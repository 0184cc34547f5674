"""Every table has an end, or a reason to stay."""

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Double, LargeBinary, Table, Text, func, insert, select, update

from tests.ledger.shop import NOW, place
from worker import retention
from worker.ledger.database import Ledger
from worker.ledger.reports import tallies
from worker.ledger.schema import BatchStatus, State, credential, integration, metadata
from worker.ledger.setup import ad_accounts
from worker.pinterest.user_data import user_data
from worker.pipeline.upkeep.purging import purge_expired

DAY = 86_400
# Recorded requests of persons are kept the longest: three years.
LONG_AFTER = NOW + 1_096 * DAY
DOCUMENT = Path(__file__).parents[3] / "docs" / "data.md"

# A purge long after leaves nothing of these.
ENDS = {
    "alert_notice",
    "attempt",
    "audit",
    "batch",
    "credential",
    "debug_input",
    "delivery",
    "person_request",
    "login_state",
    "pinterest_login",
    "pipeline_key",
    "order_day",
    "order_identity",
    "problem_example",
    "quality_score",
    "remembered_id",
    "shop_order",
    "signed_request",
    "source_usage",
    "taken_line",
    "ui_session",
    "visitor",
}
STAYS = {
    "account_reading": "settings: until no integration uses the ad account",
    "ad_account": "settings: a rate limit for each ad account",
    "alert": "what is wrong now; gone when it is over",
    "api_token": "settings: until an operator revokes it",
    "data_key": "one small row a day, needed to open the data of that day",
    "failure_group": "one row for each kind of failure that a person decided about",
    "heartbeat": "one row for each part of the system",
    "inbox": "accepted events that wait; deleted by the transaction that maps them",
    "inbox_lease": "a row for each slow bulk; deleted at its end, or by the sweeper after its worker died",
    "integration": "settings: until an operator deletes it",
    "measure": "sums for the metrics, without anybody's data",
    "rollup": "sums for the charts, without anybody's data",
    "sale": "sums by day, to compare with the shop's accounts",
    "source": "settings: until an operator deletes it",
    "suppression": "keyed hashes, until the person consents again",
    "tally": "sums for the reports, without anybody's data",
    "ui_user": "settings: until an owner removes the user",
    "watermark": "one row for each sweep",
}


def old_row(table: Table) -> dict[str, Any]:
    """Make a row of any table, as old as everything is here."""
    return {column.name: _value(column) for column in table.columns if not _is_made(column)}


def _is_made(column: Any) -> bool:
    return column.primary_key and column.autoincrement is not False and column.type.python_type is int


def _value(column: Any) -> Any:
    if isinstance(column.type, Double):
        return NOW
    kinds: dict[type, Any] = {Text: "x", LargeBinary: b"x", Boolean: False, JSON: {}}
    return next((value for kind, value in kinds.items() if isinstance(column.type, kind)), 1)


def counts(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as connection:
        return {
            name: connection.scalar(select(func.count()).select_from(table)) or 0
            for name, table in metadata.tables.items()
        }


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """Put one old row into every table."""
    ends = {"delivery": {"state": State.FAILED, "batch_id": None}, "batch": {"status": BatchStatus.SETTLED}}
    ends["quality_score"] = {"day": int(NOW // DAY)}
    # No ad account is read by the old sign-in.
    ends["account_reading"] = {"login_id": 0}
    ends["source_usage"] = {"day": int(NOW // DAY)}
    ends["order_identity"] = {"last_day": int(NOW // DAY)}
    ends["remembered_id"] = {"last_day": int(NOW // DAY)}
    with ledger.write() as connection:
        for name, table in metadata.tables.items():
            if name not in ("data_key", "attempt"):
                connection.execute(insert(table).values(old_row(table) | ends.get(name, {})))
        batch_id = connection.scalar(select(metadata.tables["batch"].c.id))
        table = metadata.tables["attempt"]
        connection.execute(insert(table).values(old_row(table) | {"batch_id": batch_id}))
        # Which access token the integration sends with is another test's.
        connection.execute(update(integration).values(credential_id=0))
    assert all(counts(ledger).values())
    return ledger


def test_a_new_table_has_to_say_how_it_ends_or_why_it_stays() -> None:
    assert metadata.tables.keys() == ENDS | STAYS.keys()
    assert not ENDS & STAYS.keys()


def test_what_has_an_end_comes_to_it(filled: Ledger) -> None:
    # A session and the like end by the clock, whatever was asked to be kept for long.
    purge_expired(filled, 30, LONG_AFTER)
    assert {name for name, n in counts(filled).items() if n == 0} == ENDS


def test_nothing_goes_before_its_time(filled: Ledger) -> None:
    before = counts(filled)
    purge_expired(filled, 30, NOW - 1)
    assert counts(filled) == before


def test_the_document_has_a_row_for_every_table_and_for_no_other() -> None:
    rows = [
        line.split("|")[1].strip() for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")
    ]
    assert sorted(rows) == sorted(f"`{name}`" for name in metadata.tables)


# Not in the document's table of the ledger: a file, sums of a table whose rows stay, and cookies.
OUTSIDE = {
    "CHART_MINUTES",
    "CLICK_COOKIE_SECONDS",
    "KNOWN_BROWSER_SECONDS",
    "SOURCES_FILE_SECONDS",
    "UNUSED_LOGIN_SECONDS",
}
IN_WORDS = {
    "AUDIT_DAYS": ("audit", "400 days"),
    "BUSINESS_ID_DAYS": ("order_identity", "30 days"),
    "DEBUG_INPUT_SECONDS": ("debug_input", "one hour"),
    "DEFAULT_DAYS": ("delivery", "retention"),
    "EVENT_ID_DAYS": ("remembered_id", "9 days"),
    "LEAST_IMPORTED_LINE_DAYS": ("taken_line", "at least 8 days"),
    "LOGIN_STATE_SECONDS": ("login_state", "30 minutes"),
    "ORDER_SUM_DAYS": ("order_day", "185 days"),
    "PERSON_REQUEST_DAYS": ("person_request", "3 years"),
    "QUALITY_DAYS": ("quality_score", "92 days"),
    "SESSION_SECONDS": ("ui_session", "12 hours"),
    "SIGNATURE_SECONDS": ("signed_request", "20 minutes"),
    "SPOOLED_SECONDS": ("signed_request", "30 days"),
    "USAGE_DAYS": ("source_usage", "400 days"),
    "VISITOR_DAYS": ("visitor", "400 days"),
    "WEBHOOK_SECONDS": ("signed_request", "7 days"),
}
UNITS = {"DAYS": DAY, "SECONDS": 1}
LENGTHS = {"minutes": 60, "hour": 3_600, "hours": 3_600, "days": DAY, "years": 365 * DAY}


def test_every_period_is_in_the_document() -> None:
    assert {
        name for name in vars(retention) if name.isupper() and name[0] != "_"
    } == OUTSIDE | IN_WORDS.keys()


@pytest.mark.parametrize("name", sorted(IN_WORDS))
def test_the_document_says_how_long_a_table_is_kept(name: str) -> None:
    table, words = IN_WORDS[name]
    (row,) = [line for line in DOCUMENT.read_text().splitlines() if line.startswith(f"| `{table}` |")]
    assert words in row.split("|")[4]
    if words != "retention":
        count, unit = words.replace("one", "1").split()[-2:]
        assert int(count) * LENGTHS[unit] == getattr(retention, name) * UNITS[name.rpartition("_")[2]]


def test_the_document_names_the_usual_retention() -> None:
    assert f"`RETENTION_DAYS` ({retention.DEFAULT_DAYS:g})" in DOCUMENT.read_text()


def test_a_click_id_counts_for_as_long_as_its_cookie_is_kept() -> None:
    assert user_data._EPIK_LIFETIME_SECONDS == retention.CLICK_COOKIE_SECONDS


def test_an_access_token_stays_while_an_integration_sends_with_it(ledger: Ledger) -> None:
    shop = place(ledger)
    purge_expired(ledger, 30, LONG_AFTER)
    with ledger.read() as connection:
        assert ad_accounts.access_token(connection, ledger.vault, shop.credential_id)


def test_an_access_token_that_was_replaced_goes_with_the_last_batch_that_was_sent_with_it(
    ledger: Ledger,
) -> None:
    shop = place(ledger)
    with ledger.write() as connection:
        new = ad_accounts.get_or_create_credential(
            connection, ledger.vault, shop.ad_account, "pina_the_next_token", NOW
        )
        connection.execute(update(integration).values(credential_id=new))
    purge_expired(ledger, 30, LONG_AFTER)
    with ledger.read() as connection:
        assert list(connection.scalars(select(credential.c.id))) == [new]


def test_the_sums_that_stay_hold_nobodys_data() -> None:
    """What a person could be found by is a keyed hash, an id of theirs, or sealed: none of it is in a table of sums."""
    for name in ("tally", "rollup", "sale", "measure"):
        columns = set(metadata.tables[name].columns.keys())
        assert not columns & {"anonymous_key", "user_key", "order_key", "event_id", "payload", "body"}


def test_a_purge_of_nothing_takes_no_time(ledger: Ledger) -> None:
    began = time.monotonic()
    assert not +purge_expired(ledger, 30, time.time())
    assert time.monotonic() - began < 5
    with ledger.read() as connection:
        assert not tallies.tally_totals(connection)
