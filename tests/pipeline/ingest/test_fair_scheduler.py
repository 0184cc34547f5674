"""A flood from one source delays others briefly, and no two workers process the same rows for long."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from tests.conftest import KEY
from tests.ledger.shop import accept, close, place
from tests.pipeline.ingest.test_ingest_bulk import JANE, emails, identify, order, outcomes
from tests.pipeline.upkeep.test_sweeping import Sent
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox, leases, visitors
from worker.ledger.intake.inbox import Waiting
from worker.ledger.intake.leases import InboxGroup, WaitingGroup
from worker.ledger.intake.visitors import VersionConflictError
from worker.ledger.schema import inbox as inbox_table
from worker.pipeline.ingest import fair_scheduler, lease_holder, map_rows
from worker.pipeline.ingest import ingest_bulk as stage
from worker.pipeline.ingest.ingest_bulk import ingest

SIGNED, PUBLIC = Trust.SIGNED, Trust.PUBLIC
# So long ago that the queue must be backed up.
WAITED = 30.0

# Decisions


def rows(*groups: tuple[str, Trust, int]) -> list[Waiting]:
    kinds = [(source_id, trust) for source_id, trust, n in groups for _ in range(n)]
    return [Waiting(n, source, None, None, 0.0, b"", trust) for n, (source, trust) in enumerate(kinds)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # A bulk of one group is that group's flood, however small.
        ([("a", PUBLIC, 1)], {("a", PUBLIC)}),
        ([("a", PUBLIC, 499), ("a", SIGNED, 1)], {("a", PUBLIC)}),
        ([("a", PUBLIC, 250), ("b", PUBLIC, 250)], {("a", PUBLIC), ("b", PUBLIC)}),
        ([("a", PUBLIC, 300), ("b", PUBLIC, 190), ("c", SIGNED, 10)], {("a", PUBLIC), ("b", PUBLIC)}),
        ([], set()),
    ],
)
def test_a_group_with_an_even_share_of_a_bulk_floods(given: Any, expected: Any) -> None:
    assert fair_scheduler._flooding_groups(rows(*given)) == {InboxGroup(*group) for group in expected}


def test_others_share_what_a_piece_takes_the_longest_waiting_first() -> None:
    heads = [WaitingGroup(InboxGroup(f"src_{n}", SIGNED), float(n)) for n in range(50)]
    heads += [WaitingGroup(InboxGroup("src_0", PUBLIC), 99.0)]
    few = fair_scheduler._groups_to_serve(heads[:3], {InboxGroup("src_1", SIGNED)}, SIGNED, 200)
    assert few == ([InboxGroup("src_0", SIGNED), InboxGroup("src_2", SIGNED)], 100)
    many, each = fair_scheduler._groups_to_serve(heads, set(), SIGNED, 200)
    assert many == [InboxGroup(f"src_{n}", SIGNED) for n in range(fair_scheduler._MAX_GROUPS)]
    assert each == 200 // fair_scheduler._MAX_GROUPS
    assert fair_scheduler._groups_to_serve(heads, set(), SIGNED, 8) == (many[:8], 1)
    assert fair_scheduler._groups_to_serve(heads, set(), PUBLIC, 200)[0] == [InboxGroup("src_0", PUBLIC)]
    assert fair_scheduler._groups_to_serve([], set(), SIGNED, 200)[0] == []


def test_sources_with_few_rows_go_first_and_those_that_were_just_served_last() -> None:
    some = rows(("many", PUBLIC, 5), ("few", PUBLIC, 2), ("one", SIGNED, 1))
    assert fair_scheduler._source_order(some, {}) == {"one": 0, "few": 1, "many": 2}
    assert fair_scheduler._source_order(some, {"one": 2, "few": 1}) == {"many": 0, "few": 1, "one": 2}


# A queue that is backed up


def wait(ledger: Ledger, source_id: str, events: Sequence[dict[str, Any]], **how: Any) -> list[int]:
    """Let events wait that nobody's hint has led to."""
    received_at = time.time() - how.pop("seconds", WAITED)
    return accept(ledger, events, source_id=source_id, received_at=received_at, **how)


def flood(ledger: Ledger, count: int, source_id: str = "src_flood", **how: Any) -> list[int]:
    events = [order(f"f{n}", messageId=f"{source_id}-{n}", anonymousId=f"f{n}") for n in range(count)]
    return wait(ledger, source_id, events, **how)


@pytest.fixture
def shops(ledger: Ledger) -> Ledger:
    """Lend a ledger with a shop that floods and a quiet one."""
    place(ledger, "src_flood", "111")
    place(ledger, "src_quiet", "222")
    return ledger


@contextmanager
def statements(ledger: Ledger) -> Iterator[list[str]]:
    """Collect every statement."""
    found: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    engines = {ledger.write_engine, ledger._reader.engine}
    for engine in engines:
        sqlalchemy_event.listen(engine, "before_cursor_execute", note)
    yield found
    for engine in engines:
        sqlalchemy_event.remove(engine, "before_cursor_execute", note)


def test_while_the_queue_is_short_turns_and_leases_ask_the_database_for_nothing(shops: Ledger) -> None:
    ids = flood(shops, 20, seconds=0.2)
    wait(shops, "src_quiet", [order("1")])
    with statements(shops) as asked:
        ingest(shops, ids)
    assert asked
    assert [
        one for one in asked if "inbox_lease" in one or ("FROM source" in one and "received_at" in one)
    ] == []
    assert "m1" not in outcomes(shops)


def test_behind_a_backlog_what_others_have_waited_for_goes_first(shops: Ledger) -> None:
    ids = flood(shops, 30)
    signed = wait(shops, "src_quiet", [order("signed")], trust=SIGNED)
    wait(shops, "src_quiet", [order("public")], seconds=2 * WAITED)
    # From the future, so that it has not waited on a slow machine either.
    wait(shops, "src_quiet", [order("fresh")], seconds=-WAITED)
    assert ingest(shops, ids)["mapped"] == 32
    order_of_work = list(outcomes(shops))
    assert order_of_work[:2] == ["msigned", "mpublic"]
    assert "mfresh" not in order_of_work
    # The hint that comes later finds nothing.
    assert ingest(shops, signed) == Counter()
    assert held(shops) == set()
    close(shops)


def test_a_public_flood_does_not_delay_the_signed_events_of_its_own_source(shops: Ledger) -> None:
    ids = flood(shops, 30)
    wait(shops, "src_flood", [order("signed")], trust=SIGNED, seconds=5.0)
    ingest(shops, ids)
    assert next(iter(outcomes(shops))) == "msigned"


def test_of_another_flood_a_run_takes_a_share(shops: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_scheduler, "_MAX_ROWS", 10)
    ids = flood(shops, 30)
    flood(shops, 40, "src_quiet")
    assert ingest(shops, ids)["mapped"] == 40
    with shops.read() as connection:
        assert inbox.backlogs(connection, ["src_quiet"])["src_quiet", PUBLIC] == 30


def test_an_event_mapped_out_of_order_has_its_visitors_earlier_data(shops: Ledger) -> None:
    """Another worker has the identify; a run of another source's flood takes both later."""
    wait(shops, "src_quiet", [identify("jane@example.com")], trust=PUBLIC)
    wait(shops, "src_quiet", [order("1")], trust=SIGNED)
    ingest(shops, flood(shops, 5))
    assert emails(shops)["m1"] == [JANE]


def test_parked_rows_are_not_taken(shops: Ledger) -> None:
    (parked,) = wait(shops, "src_quiet", [order("1")], trust=SIGNED)
    with shops.write() as connection:
        inbox.park_event(connection, parked, "It cannot be mapped.")
    ingest(shops, flood(shops, 5))
    assert "m1" not in outcomes(shops)


def test_two_runs_at_once_take_different_rows_of_others(shops: Ledger) -> None:
    """The second finds the first one's under a lease, or another choosing, and gets on with its own."""
    flood(shops, 60, "src_quiet", trust=SIGNED)
    place(shops, "src_flood2", "333")
    runs = [flood(shops, 30), flood(shops, 30, "src_flood2")]
    claims: list[list[int]] = []
    claim = fair_scheduler.FairScheduler._claim

    def noting(self: fair_scheduler.FairScheduler, *given: Any) -> list[int]:
        claims.append(ids := claim(self, *given))
        return ids

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fair_scheduler, "_CHECK_INTERVAL_SECONDS", 0.0)
        patch.setattr(fair_scheduler.FairScheduler, "_claim", noting)
        together(lambda ids: ingest(shops, ids), runs)
    claimed = Counter(event_id for ids in claims for event_id in ids)
    assert max(claimed.values()) == 1
    assert len(outcomes(shops)) == 120
    assert held(shops) == set()


def together(work: Callable[[list[int]], Any], given: Sequence[list[int]]) -> None:
    threads = [threading.Thread(target=work, args=(ids,)) for ids in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def held(ledger: Ledger) -> set[int]:
    with ledger.read() as connection:
        return leases.leased_ids(connection)


def test_rows_that_another_worker_leased_are_skipped(shops: Ledger) -> None:
    ids = flood(shops, 10)
    quiet = wait(shops, "src_quiet", [order("1"), order("2")], trust=SIGNED)
    with shops.write() as connection:
        leases.save_lease(connection, "another", [*ids[:4], quiet[0]], 60.0)
    assert ingest(shops, ids)["mapped"] == 7
    assert {"m2", "src_flood-4"} <= set(outcomes(shops))
    assert not {"m1", "src_flood-3"} & set(outcomes(shops))
    # Their worker is gone.
    with shops.write() as connection:
        leases.save_lease(connection, "another", [], 0.0)
    assert ingest(shops, [*ids, *quiet])["mapped"] == 5


def test_a_ledger_that_refuses_a_claim_costs_the_run_its_own_rows_nothing(
    shops: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait(shops, "src_quiet", [order("1")], trust=SIGNED)

    def away(*_: Any) -> Any:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(leases, "oldest_ids", away)
    assert ingest(shops, flood(shops, 5))["mapped"] == 5


def test_a_lost_race_for_rows_of_others_costs_the_run_its_own_rows_nothing(
    shops: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_MAX_RACES", 1)
    save = visitors.save_visitors

    def late_for_jane(connection: Any, changed: Any, now: float) -> None:
        if changed:
            raise VersionConflictError
        save(connection, changed, now)

    monkeypatch.setattr(visitors, "save_visitors", late_for_jane)
    wait(shops, "src_quiet", [identify("jane@example.com")], trust=SIGNED)
    assert ingest(shops, flood(shops, 5))["mapped"] == 5


# Mapping that takes long


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Let each event of the flood take 20 ms, with slices of 100 ms; return what was mapped, and when."""
    monkeypatch.setattr(map_rows, "_SLICE_SECONDS", 0.1)
    monkeypatch.setattr(fair_scheduler, "_CHECK_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(fair_scheduler, "_OVERDUE_SECONDS", 0.0)
    mapped: list[tuple[str, float]] = []
    to_deliveries = map_rows.to_deliveries

    def slowly(target: Any, one: Any, *rest: Any) -> Any:
        if one.row.source_id.startswith("src_flood"):
            time.sleep(0.02)
        mapped.append((one.event["messageId"], time.monotonic()))
        return to_deliveries(target, one, *rest)

    monkeypatch.setattr(map_rows, "to_deliveries", slowly)
    return mapped


@pytest.fixture
def leases_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write leases after 50 ms in place of two seconds."""
    monkeypatch.setattr(lease_holder, "LEASE_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(lease_holder, "_WATCH_INTERVAL_SECONDS", 0.02)
    monkeypatch.setattr(fair_scheduler, "LEASE_AFTER_SECONDS", 0.0)


def test_an_order_that_comes_in_while_a_slow_bulk_runs_is_written_long_before_its_end(
    shops: Ledger, slow: list[tuple[str, float]]
) -> None:
    ids = flood(shops, 60, seconds=0.0)
    run = threading.Thread(target=ingest, args=(shops, ids))
    run.start()
    time.sleep(0.2)
    wait(shops, "src_quiet", [order("1")], trust=SIGNED, seconds=0.0)
    came_at = time.monotonic()
    run.join(60)
    names = [name for name, _ in slow]
    assert names.index("m1") < 50
    assert dict(slow)["m1"] - came_at < 0.6
    assert Counter(names).most_common(1)[0][1] == 1
    assert len(outcomes(shops)) == 61
    close(shops)


def test_within_a_slow_bulk_a_source_with_few_rows_waits_for_no_other(
    shops: Ledger, slow: list[tuple[str, float]]
) -> None:
    ids = flood(shops, 20, seconds=0.0) + wait(shops, "src_quiet", [order("1")], seconds=0.0)
    ingest(shops, ids)
    assert slow[0][0] == "m1"
    assert len(outcomes(shops)) == 21


def test_two_slow_sources_of_a_bulk_take_turns(shops: Ledger, slow: list[tuple[str, float]]) -> None:
    place(shops, "src_flood2", "333")
    ids = flood(shops, 40, seconds=0.0) + flood(shops, 41, "src_flood2", seconds=0.0)
    ingest(shops, ids)
    turns_ = [name.partition("-")[0] for name, _ in slow]
    changes = sum(before != after for before, after in pairwise(turns_))
    assert changes >= 4
    assert len(outcomes(shops)) == 81


def test_signed_events_of_a_slow_bulk_take_turns_with_public_ones(
    shops: Ledger, slow: list[tuple[str, float]]
) -> None:
    ids = flood(shops, 40, seconds=0.0)
    events = [order(f"s{n}", anonymousId=f"s{n}") for n in range(3)]
    ids += wait(shops, "src_flood", events, trust=SIGNED, seconds=0.0)
    ingest(shops, ids)
    assert max(place for place, (name, _) in enumerate(slow) if name.startswith("ms")) < 20
    assert len(outcomes(shops)) == 43


def test_slices_keep_the_order_of_a_visitor(shops: Ledger, slow: list[tuple[str, float]]) -> None:
    events: list[dict[str, Any]] = []
    for number in range(30):
        events += [identify(f"v{number}@example.com", anonymousId=f"v{number}")]
        events += [order(f"v{number}", anonymousId=f"v{number}")]
    accepted = [
        wait(shops, "src_flood", [one], trust=SIGNED if one["type"] == "track" else PUBLIC, seconds=0.0)[0]
        for one in events
    ]
    ingest(shops, accepted)
    assert slow
    found = emails(shops)
    assert len(found) == 30
    assert all(len(found[f"mv{number}"]) == 1 for number in range(30))


def test_a_bulk_that_takes_long_is_worked_on_once(
    shops: Ledger, slow: list[tuple[str, float]], leases_at_once: None
) -> None:
    """While its worker lives; the sweeper names none of it, and another worker that is named it leaves it alone."""
    ids = flood(shops, 60)
    run = threading.Thread(target=ingest, args=(shops, ids))
    run.start()
    until(lambda: held(shops))
    sent = Sent()
    sent.sweep(shops, time.time() + 1)
    assert sent.ranges == []
    other = Ledger(shops.url.render_as_string(hide_password=False), (KEY,))
    assert ingest(other, ids) == Counter()
    other.dispose()
    run.join(60)
    assert Counter(name for name, _ in slow).most_common(1)[0][1] == 1
    assert held(shops) == set()
    assert len(outcomes(shops)) == 60


def until(done: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lease_is_renewed_while_a_single_event_takes_long(
    shops: Ledger, monkeypatch: pytest.MonkeyPatch, leases_at_once: None
) -> None:
    monkeypatch.setattr(lease_holder, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lease_holder, "_RENEW_SECONDS", 0.1)
    going_on = threading.Event()
    to_deliveries = map_rows.to_deliveries

    def waiting(*given: Any) -> Any:
        assert going_on.wait(30)
        return to_deliveries(*given)

    monkeypatch.setattr(map_rows, "to_deliveries", waiting)
    ids = flood(shops, 2)
    run = threading.Thread(target=ingest, args=(shops, ids))
    run.start()
    until(lambda: held(shops))
    for _ in range(30):
        assert held(shops) == set(ids)
        time.sleep(0.05)
    going_on.set()
    run.join(30)
    assert held(shops) == set()


def test_a_thread_that_hangs_loses_its_rows_to_another_worker(
    shops: Ledger, monkeypatch: pytest.MonkeyPatch, leases_at_once: None
) -> None:
    """Its process lives, and would renew the lease for ever."""
    monkeypatch.setattr(lease_holder, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(lease_holder, "_RENEW_SECONDS", 0.1)
    monkeypatch.setattr(lease_holder, "_STUCK_SECONDS", 1.0)
    going_on, hanging = threading.Event(), threading.Event()
    to_deliveries = map_rows.to_deliveries

    def hangs_once(*given: Any) -> Any:
        if not hanging.is_set():
            hanging.set()
            assert going_on.wait(60)
        return to_deliveries(*given)

    monkeypatch.setattr(map_rows, "to_deliveries", hangs_once)
    ids = flood(shops, 3)
    run = threading.Thread(target=ingest, args=(shops, ids))
    run.start()
    until(lambda: held(shops))
    sent = Sent()
    until(lambda: not held(shops))
    sent.sweep(shops, time.time())
    assert sent.ranges[0] == (ids[0], ids[-1])
    other = Ledger(shops.url.render_as_string(hide_password=False), (KEY,))
    assert ingest(other, ids)["mapped"] == 3
    other.dispose()
    # It comes back, and finds nothing to settle.
    going_on.set()
    run.join(30)
    assert len(outcomes(shops)) == 3
    close(shops)


def test_what_was_claimed_of_others_and_took_too_long_is_hinted_at_by_the_next_sweep(
    shops: Ledger, slow: list[tuple[str, float]]
) -> None:
    """Its own hints may have come meanwhile to a worker that left the rows to the one that had claimed them."""
    claimed = flood(shops, 30)
    ids = wait(shops, "src_quiet", [order(f"own{n}", anonymousId=f"o{n}") for n in range(3)])
    sent = Sent(queued=10_000)
    # A round over all rows. The next one starts a minute later.
    sent.sweep(shops, time.time())
    ingest(shops, ids)
    with shops.read() as connection:
        left = list(connection.scalars(select(inbox_table.c.id).order_by(inbox_table.c.id)))
    assert 0 < len(left) < 30
    assert set(left) < set(claimed)
    sent.sweep(shops, time.time())
    assert sent.ranges == [(left[0], left[-1])]


def test_a_visitor_with_many_earlier_events_does_not_delay_others(
    shops: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its earlier events take too long, so their own hints settle them first."""
    monkeypatch.setattr(map_rows, "_SLICE_SECONDS", 0.05)
    monkeypatch.setattr(map_rows, "_STALL_SECONDS", 0.1)
    learn = map_rows.BulkVisitors.learn

    def slowly(self: Any, one: Any, country: Any, *, keep: bool) -> Any:
        if one.row.source_id == "src_flood":
            time.sleep(0.02)
        return learn(self, one, country, keep=keep)

    monkeypatch.setattr(map_rows.BulkVisitors, "learn", slowly)
    events = [identify(f"{n}@example.com") for n in range(30)]
    earlier = wait(shops, "src_flood", events, seconds=0.0)
    late = wait(shops, "src_flood", [order("late")], seconds=0.0)
    quiet = wait(shops, "src_quiet", [order("1"), order("2")], seconds=0.0)
    ingest(shops, late + quiet)
    assert set(outcomes(shops)) == {"m1", "m2"}
    ingest(shops, earlier)
    ingest(shops, late)
    assert emails(shops)["mlate"] is not None
