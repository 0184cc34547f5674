"""Events come out of files, each line once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, func, select

from tests.cli.conftest import Shell
from tests.integration.waiting import until
from worker.dev.shop_walk import _SOURCE_ID
from worker.event.received import Trust
from worker.ledger.delivery import find_deliveries
from worker.ledger.intake import inbox
from worker.ledger.schema import delivery, integration, taken_line
from worker.ledger.schema import inbox as inbox_table
from worker.ledger.setup.sources import Source, insert_source, remove_source
from worker.pipeline.ingest.accepting import open_rows
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.settings import settings

ROOT = Path(__file__).parents[2]
# Nobody listens there: a hint that goes nowhere is for the sweeper to make good.
NO_BROKER = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.broker.publisher.HintPublisher.offer", lambda _self, ids: len(ids))


def moment(age_seconds: float = 600.0) -> str:
    return datetime.fromtimestamp(time.time() - age_seconds, UTC).isoformat()


def sale(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "event": "Order Completed",
        "timestamp": "2030-01-29T14:53:20Z",
        "properties": {"order_id": f"ORD-{number}", "total": 10, "currency": "USD"},
        "context": {"traits": {"email": f"buyer{number}@example.com"}},
    } | changes


def text_of(events: Sequence[Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def waiting(shell: Shell) -> list[dict[str, Any]]:
    with shell.ledger.read() as connection:
        ids = list(connection.scalars(select(inbox_table.c.id)))
        rows = inbox.load_events(connection, ids)
    return [dict(one.event) for one in open_rows(shell.ledger.vault, rows)[0]]


def mapped(shell: Shell) -> dict[str, Any]:
    """Ingest the one event that waits; return what would be sent for it, in a batch for offline events."""
    with shell.ledger.read() as connection:
        ids = list(connection.scalars(select(inbox_table.c.id)))
    ingest(shell.ledger, ids)
    with shell.ledger.read() as connection:
        (found,) = find_deliveries.find_after(connection, 0, 10)
        row = connection.execute(select(delivery)).one()
    assert (found.state, row.offline) == ("pending", True)
    return dict(json.loads(shell.ledger.vault.open(row.payload, b"payload")))


def test_json_lines_wait_in_the_inbox_as_offline_events(shell: Shell) -> None:
    assert shell.good("send", "-", stdin=text_of([sale(1), sale(2)])) == "Imported 2 events.\n"
    assert [event["properties"]["order_id"] for event in waiting(shell)] == ["ORD-1", "ORD-2"]
    assert {event["context"]["action_source"] for event in waiting(shell)} == {"offline"}


def test_what_comes_out_of_a_file_counts_as_signed(shell: Shell) -> None:
    shell.good("send", "-", stdin=text_of([sale(1)]))
    with shell.ledger.read() as connection:
        assert list(connection.scalars(select(inbox_table.c.trust))) == [Trust.SIGNED]


def test_running_it_again_takes_nothing_and_a_longer_file_only_what_is_new(shell: Shell) -> None:
    shell.good("send", "-", stdin=text_of([sale(1), sale(2)]))
    again = shell.good("send", "-", stdin=text_of([sale(3), sale(2), sale(1)]))
    assert again == "Imported 1 event.\n2 lines were skipped: imported before, or equal to another line.\n"
    assert len(waiting(shell)) == 3
    assert shell.good("books").endswith("The books balance.\n")


def test_a_file_without_events_says_that_it_has_none(shell: Shell) -> None:
    assert "There is no line with an event." in shell.good("send", "-", stdin="order_id,email\n")


def test_what_was_taken_stays_known_when_it_has_left_the_inbox(shell: Shell) -> None:
    shell.good("send", "-", stdin=text_of([sale(1)]))
    with shell.ledger.write() as connection:
        connection.execute(inbox_table.delete())
    assert shell.good("send", "-", stdin=text_of([sale(1)])).startswith("Imported 0 events.")


def test_two_lines_alike_are_one_event_in_whatever_order_their_fields_stand(shell: Shell) -> None:
    other_order = dict(reversed(sale(1).items()))
    assert shell.good("send", "-", stdin=text_of([sale(1), other_order])).startswith(
        "Imported 1 event.\n1 line"
    )


def test_the_event_id_follows_from_the_content_in_any_ledger(shell: Shell) -> None:
    shell.good("send", "-", stdin=text_of([sale(1), sale(2, messageId="mine")]))
    ids = [event["messageId"] for event in waiting(shell)]
    assert ids == ["line_ad60c9e108b1e32ce47ba418f2cd9c5d", "mine"]


def test_a_line_that_says_where_it_took_place_is_believed(shell: Shell) -> None:
    in_app = sale(1, context={"action_source": "app_ios"})
    shell.good("send", "-", "--action-source", "web", stdin=text_of([in_app, sale(2)]))
    assert [event["context"]["action_source"] for event in waiting(shell)] == ["app_ios", "web"]


def test_csv_becomes_what_pinterest_gets(shell: Shell) -> None:
    header = "Date,Order ID,Total,num_items,Currency,Customer,First name,consent.advertising\n"
    row = f"{moment()},ORD-7,129.99,2,usd,John.Doe@example.com ,John,yes\n"
    done = shell.good(
        "send", "-", "--event", "Order Completed", "--column", "Customer=email", stdin=header + row
    )
    assert done == "Imported 1 event.\n"
    payload = mapped(shell)
    assert (payload["event_name"], payload["action_source"]) == ("checkout", "offline")
    assert payload["custom_data"]["value"] == "129.99"
    assert payload["custom_data"]["order_id"] == "ORD-7"
    assert payload["custom_data"]["num_items"] == 2
    assert payload["user_data"]["em"] == ["836f82db99121b3481011f16b49dfa5fbc714a0d1b1b9f784a1ebbbf5b39577f"]
    assert "fn" in payload["user_data"]


def test_what_a_spreadsheet_saves_becomes_what_pinterest_gets(shell: Shell) -> None:
    """An old encoding, semicolons, decimal commas, local times, and blank cells and rows at the edges."""
    when = datetime.now(ZoneInfo("Europe/Berlin")) - timedelta(hours=3)
    rows = [
        "sep=;",
        "Datum;Bestellung;Betrag;Währung;Menge;E-Mail;Ort;;",
        f"{when:%d.%m.%Y %H:%M};S-1;1.299;EUR;2;zoe@example.com;Köln;;",
        ";;;;;;;;",
    ]
    columns = (
        "Datum=date",
        "Menge=quantity",
        "Bestellung=order_id",
        "Betrag=total",
        "Währung=currency",
        "Ort=city",
    )
    done = shell.good(
        *("send", "-", "--event", "Order Completed", "--encoding", "cp1252"),
        *("--date-format", "%d.%m.%Y %H:%M", "--timezone", "Europe/Berlin"),
        *(part for column in columns for part in ("--column", column)),
        stdin="\r\n".join(rows).encode("cp1252"),
    )
    assert done == "Imported 1 event.\n"
    payload = mapped(shell)
    assert payload["event_time"] == int(when.timestamp()) // 60 * 60
    assert payload["custom_data"]["value"] == "1299"
    assert payload["custom_data"]["currency"] == "EUR"
    # Pinterest's own rule for a city: lower case, without spaces and punctuation.
    assert payload["user_data"]["ct"] == [sha256("köln".encode()).hexdigest()]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--encoding", "klingon"), "there is no encoding 'klingon'; usual ones are"),
        (("--encoding", "base64"), "there is no encoding 'base64'; usual ones are"),
        (("--timezone", "Europe/Atlantis"), "there is no time zone 'Europe/Atlantis'; use a name like"),
        (("--date-format", "dd.mm.yyyy"), "must be like '%d.%m.%Y %H:%M', with day, month and year"),
        (("--column", "total"), "must be like 'Customer e-mail=email'."),
    ],
)
def test_an_option_that_means_nothing_is_refused(
    shell: Shell, options: tuple[str, ...], sentence: str
) -> None:
    done = shell.run("send", "-", *options, stdin=text_of([sale(1)]))
    assert (done.exit_code, waiting(shell)) == (2, [])
    assert options[0] in done.output
    assert sentence in done.output


def test_an_encoding_that_was_not_told_is_asked_for(shell: Shell) -> None:
    text = f"event,time,city\nA,{moment()},Köln\nA,{moment()},Bonn\n".encode("cp1252")
    done = shell.run("send", "-", stdin=text)
    assert "line 2: the row is not in UTF-8: say with --encoding what it is in, like cp1252." in done.output
    assert done.stdout.startswith("Imported 1 event.\n1 line is wrong.\n")


def test_a_wrong_line_is_named_with_its_field_and_costs_no_other(shell: Shell) -> None:
    untimed = {"event": "Order Completed"}
    text = text_of([sale(1), sale(2, properties=[]), untimed, 5, sale(3, timestamp="soon")]) + "{\n"
    done = shell.run("send", "-", stdin=text)
    assert done.exit_code == 1
    assert "standard input, line 2: properties must be an object." in done.output
    assert "line 3: timestamp must be given: when it happened, not when the file was sent." in done.output
    assert "line 4: event must be an object." in done.output
    assert "line 5: timestamp must be a time in ISO 8601" in done.output
    assert "line 6: the line is not JSON" in done.output
    assert done.stdout.endswith("Imported 1 event.\n5 lines are wrong.\n")
    assert len(waiting(shell)) == 1


def test_a_mended_line_is_taken_beside_those_that_were(shell: Shell) -> None:
    shell.run("send", "-", stdin=text_of([sale(1), sale(2, timestamp=None)]))
    assert shell.good("send", "-", stdin=text_of([sale(1), sale(2)])).startswith("Imported 1 event.\n")


def test_an_event_that_is_too_large_is_named(shell: Shell) -> None:
    done = shell.run("send", "-", stdin=text_of([sale(1, context={"page": "x" * 70_000})]))
    assert "line 1: event must be at most 64 KB" in done.output


def test_a_dry_run_takes_nothing_and_tells_the_same(shell: Shell) -> None:
    shell.good("send", "-", stdin=text_of([sale(1)]))
    done = shell.run("send", "--dry-run", "-", stdin=text_of([sale(1), sale(2), 5]))
    assert done.stdout.endswith(
        "Would import 1 event.\n1 line was skipped: imported before, or equal to another line.\n"
        "1 line is wrong.\n"
    )
    assert len(waiting(shell)) == 1


def test_several_files_are_taken_one_after_the_other(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(text_of([sale(1)]))
    (tmp_path / "b.csv").write_text(f"event,time,total\nOrder Completed,{moment()},5\n")
    assert shell.good("send", str(tmp_path / "a.jsonl"), str(tmp_path / "b.csv")) == "Imported 2 events.\n"


def test_a_file_that_cannot_be_read_is_told_in_a_sentence(shell: Shell) -> None:
    done = shell.run("send", "-", stdin='[{"event": "A"}]')
    assert (done.exit_code, done.exception.__class__) == (1, SystemExit)
    assert "standard input: holds a list in JSON: write one event a line" in done.output


def test_without_a_source_nothing_can_be_sent(shell: Shell) -> None:
    with shell.ledger.write() as connection:
        connection.execute(delete(integration))
        assert remove_source(connection, _SOURCE_ID)
    done = shell.run("send", "-", stdin=text_of([sale(1)]))
    assert (done.exit_code, done.output) == (1, "Error: There are no sources. Add one first.\n")


def test_the_source_has_to_be_named_where_there_are_two(shell: Shell) -> None:
    with shell.ledger.write() as connection:
        insert_source(
            connection, shell.ledger.vault, Source("src_2", "Two", (), 0.0, 0.0), "dk_live_2", "secret"
        )
    done = shell.run("send", "-", stdin=text_of([sale(1)]))
    assert done.output == f"Error: Choose a source with --source. Sources: src_2, {_SOURCE_ID}.\n"
    assert shell.run("send", "-", "--source", "src_3").output.startswith("Error: There is no source src_3.")
    assert shell.good("send", "-", "--source", "src_2", stdin=text_of([sale(1)])) == "Imported 1 event.\n"


def test_too_long_a_backlog_is_waited_out(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        monkeypatch.setattr("worker.ledger.setup.sources._BACKLOG_EVENTS", 1_000)

    monkeypatch.setattr("worker.ledger.setup.sources._BACKLOG_EVENTS", 0)
    monkeypatch.setattr("worker.cli.send.time.sleep", sleep)
    done = shell.good("send", "-", stdin=text_of([sale(1)]))
    assert 5 in slept
    assert "Waiting: Too many events of this source wait to be processed" in done
    assert "Imported 1 event.\n" in done


def test_killed_at_any_moment_and_run_again_it_takes_each_line_once(shell: Shell, tmp_path: Path) -> None:
    """A kill leaves whole steps behind, with what remembers them."""
    file = tmp_path / "sales.jsonl"
    file.write_text(text_of([sale(number) for number in range(20_000)]))
    command = [sys.executable, "-m", "worker", "send", str(file)]
    environment = os.environ | {"SIGNAL_VAR": str(settings().var), "BROKER_URL": NO_BROKER}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as first:
        until("some lines are taken", lambda: _count(shell, taken_line) > 500, every=0.01)
        first.send_signal(signal.SIGKILL)
    before = _count(shell, taken_line)
    assert 500 < before < 20_000
    assert _count(shell, inbox_table) == before
    done = shell.good("send", str(file))
    assert done.startswith(f"Imported {20_000 - before:,} events.")
    assert _count(shell, inbox_table) == _count(shell, taken_line) == 20_000


def _count(shell: Shell, table: Any) -> int:
    with shell.ledger.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0
