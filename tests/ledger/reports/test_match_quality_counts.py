"""Identifiers of events are counted when their deliveries are written."""

from typing import Any

import pytest

from tests.ledger.shop import NOW, close, new, place, write
from worker.ledger.database import Ledger
from worker.ledger.reports import match_quality_counts, tallies
from worker.ledger.reports.match_quality_counts import Quality, _QualityKey
from worker.ledger.schema import State
from worker.ledger.setup.integrations import Integration
from worker.ledger.upkeep import counter_rows

HOUR = int(NOW // 3600)


@pytest.fixture
def shop(ledger: Ledger) -> Integration:
    return place(ledger)


def read(ledger: Ledger, since_hour: int = HOUR, **options: Any) -> dict[_QualityKey, Quality]:
    with ledger.read() as connection:
        return match_quality_counts.quality_since(connection, since_hour, **options)


def test_identifiers_are_counted_for_each_event_name(ledger: Ledger, shop: Integration) -> None:
    """Late and computed ones count as such and with their identifiers; invalid ones only by their class."""
    invalid = {"state": State.FAILED, "reason_class": "no_identity", "qualities": ("invalid=no_identity",)}
    events = [
        new(ledger, shop, "1", qualities=("em", "ip_ua")),
        new(ledger, shop, "2", qualities=("ip_ua", "computed", "late")),
        new(ledger, shop, "3", **invalid),
        new(ledger, shop, "4", event_name="search", qualities=("ip_ua",)),
    ]
    write(ledger, events)

    assert {
        _QualityKey(shop.id, "checkout", HOUR): Quality(
            valid=2, late=1, computed=1, identifiers={"em": 1, "ip_ua": 2}, invalid={"no_identity": 1}
        ),
        _QualityKey(shop.id, "search", HOUR): Quality(valid=1, identifiers={"ip_ua": 1}),
    } == read(ledger)


def test_a_share_is_of_the_valid_events() -> None:
    counted = Quality()
    counted.add(["em", "ip_ua"], 1)
    counted.add(["ip_ua"], 3)
    counted.add(["invalid=stale"], 4)

    assert (
        counted.share("em"),
        counted.share("ip_ua"),
        counted.share("ph"),
        counted.events,
    ) == (0.25, 1.0, 0.0, 8)
    assert Quality().share("em") == 0.0


def test_a_duplicate_counts_once(ledger: Ledger, shop: Integration) -> None:
    """In one bulk and in two."""
    same = new(ledger, shop, "1", qualities=("em",))
    write(ledger, [same, same])
    write(ledger, [new(ledger, shop, "1", qualities=("em", "ph"))])

    assert read(ledger)[_QualityKey(shop.id, "checkout", HOUR)].identifiers == {"em": 1}


def test_a_filtered_event_has_no_quality(ledger: Ledger, shop: Integration) -> None:
    write(ledger, [new(ledger, shop, "1", state=State.FILTERED, payload=None)])

    assert read(ledger) == {}


def test_the_books_ignore_quality(ledger: Ledger, shop: Integration) -> None:
    """The outcomes that a write returns and the charts pass them over, too."""
    outcomes = write(ledger, [new(ledger, shop, "1", qualities=("em",))])

    close(ledger)
    assert outcomes == {"created": 1}
    with ledger.read() as connection:
        assert tallies.tally_totals(connection) == {"created": 1}
        assert [(HOUR, shop.number, "created", 1)] == tallies.tallies_by_hour(connection, HOUR)


def test_quality_is_split_by_steps_of_time(ledger: Ledger, shop: Integration) -> None:
    """The first step starts at the start of the query."""
    first = HOUR - HOUR % 6
    for hour in (first, first + 1, first + 5, first + 6):
        write(ledger, [new(ledger, shop, str(hour), qualities=("em",))], now=hour * 3600.0)

    steps = {key.from_hour: found.valid for key, found in read(ledger, first + 1, step_hours=6).items()}
    assert {first + 1: 2, first + 6: 1} == steps


def test_quality_may_be_of_one_integration(ledger: Ledger, shop: Integration) -> None:
    other = place(ledger, ad_account_id="2")
    write(ledger, [new(ledger, shop, "1", qualities=("em",)), new(ledger, other, "1", qualities=("em",))])

    assert [other.id] == [key.integration_id for key in read(ledger, integration_number=other.number)]
    assert len(read(ledger)) == 2


def test_folding_changes_no_count(ledger: Ledger, shop: Integration) -> None:
    for number in range(5):
        write(ledger, [new(ledger, shop, str(number), qualities=("em", "ip_ua"))])
    before = read(ledger)
    with ledger.write() as connection:
        assert counter_rows.fold_counters(connection, "tally", since_hour=HOUR) == 8

    assert before == read(ledger)


def test_only_old_counts_are_removed(ledger: Ledger, shop: Integration) -> None:
    """Counts that the books need are kept for ever."""
    write(ledger, [new(ledger, shop, "1", qualities=("em",))], now=NOW - 3600)
    write(ledger, [new(ledger, shop, "2", qualities=("em",))])
    with ledger.write() as connection:
        assert (
            match_quality_counts.delete_quality(
                connection, match_quality_counts.quality_ids_before(connection, HOUR, 10)
            )
            == 1
        )

    assert {_QualityKey(shop.id, "checkout", 0): Quality(valid=1, identifiers={"em": 1})} == read(ledger, 0)
    close(ledger)


def test_many_combinations_in_an_hour_are_counted_by_word_and_read_the_same(
    ledger: Ledger, shop: Integration
) -> None:
    """Callers choose an event's identifiers: each combination would be one row per hour."""
    names = [f"id{number}" for number in range(8)]
    every = [tuple(name for place, name in enumerate(names) if kind >> place & 1) for kind in range(1, 256)]
    events = [new(ledger, shop, str(number), qualities=words) for number, words in enumerate(every)]
    events.append(new(ledger, shop, "late", event_name="search", qualities=("id1", "late")))
    write(ledger, events)
    before = read(ledger)
    with ledger.write() as connection:
        saved = match_quality_counts.split_combinations(connection, HOUR, 10)
        assert match_quality_counts.split_combinations(connection, HOUR, 10) == 0
    assert saved == 255 - 9
    assert read(ledger) == before
    assert before[_QualityKey(shop.id, "checkout", HOUR)].identifiers["id3"] == 128
    # Later events of the hour are added.
    write(ledger, [new(ledger, shop, "one more", qualities=("id3",))])
    assert read(ledger)[_QualityKey(shop.id, "checkout", HOUR)].identifiers["id3"] == 129
    close(ledger)


def test_a_few_combinations_stay_as_they_are(ledger: Ledger, shop: Integration) -> None:
    write(ledger, [new(ledger, shop, str(n), qualities=("em", f"id{n % 50}")) for n in range(100)])
    with ledger.write() as connection:
        assert match_quality_counts.split_combinations(connection, HOUR, 10) == 0
