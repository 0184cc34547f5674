"""The database fails during work: tasks wait for it, and no request is sent twice."""

import itertools
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.exc import OperationalError

from tests.chaos.databases import Cluster, postgresql_cluster
from tests.conftest import KEY
from tests.integration.waiting import until
from tests.ledger.shop import accept, pend, place, stand
from tests.pipeline.sandbox import FakePinterest, Reply, Stage, accepted, answer
from worker.collector.intake import GroupCommit
from worker.collector.spooling import SpoolingIntake
from worker.ledger.database import Ledger
from worker.ledger.intake import spool
from worker.ledger.intake.inbox import Accepted
from worker.ledger.migrate import migrate
from worker.ledger.schema import inbox as inbox_table
from worker.pinterest.client.client import Answer
from worker.pipeline.delivery.deliver_batch import deliver, postpone_delivery
from worker.pipeline.delivery.delivery_context import DeliveryContext, PostponedError
from worker.pipeline.ingest import ingest_bulk as ingesting
from worker.pipeline.ingest.ingest_bulk import ingest

TRACK = {"type": "track", "event": "Signed Up", "context": {"ip": "203.0.113.5", "userAgent": "Mozilla/5.0"}}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    # Not below pytest's own folder, which only root may enter: PostgreSQL is another user.
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    folder.chmod(0o755)
    try:
        with postgresql_cluster(folder / "own") as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def on_cluster(cluster: Cluster) -> Iterator[Ledger]:
    ledger = Ledger(cluster.url, (KEY,))
    migrate(ledger)
    ledger.vault.prepare()
    yield ledger
    ledger.dispose()


def while_it_is_away(go: Callable[[], None], reply: Reply) -> Reply:
    """Answer after the database has failed: it worked when the request was sent."""

    def after_it_went(events: list[dict[str, Any]]) -> Answer:
        go()
        return reply(events)

    return after_it_went


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize("reply", [accepted, lambda _: answer(500)], ids=["settled", "put off"])
def test_an_answer_that_comes_while_postgresql_is_away_is_written_down_once_it_is_back(
    cluster: Cluster, on_cluster: Ledger, reply: Reply
) -> None:
    pend(on_cluster, place(on_cluster), 5)
    stage = Stage(on_cluster, FakePinterest(while_it_is_away(cluster.kill, reply)))
    (batch_id,) = stage.batch()
    starts = iter([lambda: None, cluster.start])
    # The first attempt still fails, the second one works.
    context = replace(stage.context, sleep=lambda _: next(starts)())
    _deliver(context, batch_id)
    assert len(stage.pinterest.requests) == 1
    assert stand(on_cluster) == ({"delivered": 5} if reply is accepted else {"in_flight": 5})


@pytest.mark.slow
@pytest.mark.services
def test_what_was_accepted_and_pending_survives_a_kill_of_postgresql(
    cluster: Cluster, on_cluster: Ledger
) -> None:
    shop = place(on_cluster)
    ids = accept(on_cluster, [TRACK | {"messageId": f"m{n}"} for n in range(20)])
    pend(on_cluster, shop, 10)
    cluster.kill()
    with pytest.raises(OperationalError):
        stand(on_cluster)
    cluster.start()
    # Its pool discards dead connections automatically.
    assert stand(on_cluster) == {"pending": 10}
    assert ingest(on_cluster, ids)["mapped"] == 20
    assert stand(on_cluster)["pending"] == 10


@pytest.mark.slow
@pytest.mark.services
def test_restarts_of_postgresql_refuse_no_request_and_lose_no_event(
    cluster: Cluster, on_cluster: Ledger, tmp_path: Path
) -> None:
    intake = SpoolingIntake(on_cluster, GroupCommit(on_cluster).accept, tmp_path / "spool", 1024**2, len)
    intake.start()
    taken: list[str] = []
    slowest: list[float] = [0.0]
    over = threading.Event()

    def send(thread: int) -> None:
        for n in itertools.count():
            if over.wait(0.01):
                return
            began = time.monotonic()
            intake.accept([Accepted("src_shop", None, None, False, 1.0, f"{thread}-{n}".encode())], 1.0)
            taken.append(f"{thread}-{n}")
            slowest.append(time.monotonic() - began)

    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(send, thread) for thread in range(4)]
        try:
            for end in (cluster.stop, cluster.kill):
                time.sleep(1.0)
                end()
                time.sleep(1.0)
                cluster.start()
            time.sleep(1.0)
        finally:
            over.set()
    for one in threads:
        one.result()
    until("the spool is empty", lambda: not spool.files(tmp_path / "spool"), 10)
    intake.close()
    with on_cluster.read() as connection:
        stored = [body.decode() for body in connection.scalars(select(inbox_table.c.body))]
    assert set(stored) == set(taken)
    # PostgreSQL may commit what it no longer confirms: of each thread, at most one request at each end.
    assert len(stored) - len(taken) <= 2 * len(threads)
    print(f"\nrestarted twice: {len(taken)} events, slowest answer {max(slowest):.1f} s")


def _deliver(context: DeliveryContext, batch_id: int) -> None:
    try:
        deliver(context, batch_id)
    except PostponedError as postponed:
        postpone_delivery(context, postponed)


class Disk:
    """A full disk that is later freed; SQLite reports the same error as on a real one."""

    def __init__(self, engine: Engine) -> None:
        self._bound: int | None = None
        self._engine = engine
        event.listen(engine, "begin", self._bind)

    def fill(self) -> None:
        with self._engine.connect() as connection:
            self._bound = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def clear(self) -> None:
        self._bound = None

    def _bind(self, connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={self._bound or 2**30}")


@pytest.fixture
def disk(sqlite_ledger: Ledger) -> Disk:
    return Disk(sqlite_ledger.write_engine)


def test_an_answer_that_finds_the_disk_full_is_written_down_once_there_is_room(
    sqlite_ledger: Ledger, disk: Disk
) -> None:
    def refusing_each(events: list[dict[str, Any]]) -> Answer:
        words = "Pinterest refuses this event at some length. " * 6
        one = {"status": "failed", "error_message": words}
        return answer(200, {"events": [one] * len(events)})

    pend(sqlite_ledger, place(sqlite_ledger), 500)
    stage = Stage(sqlite_ledger, FakePinterest(while_it_is_away(disk.fill, refusing_each)))
    (batch_id,) = stage.batch()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            disk.clear()

    assert deliver(replace(stage.context, sleep=sleep), batch_id) == "settled"
    assert len(waits) == 3
    assert len(stage.pinterest.requests) == 1
    assert stand(sqlite_ledger) == {"failed": 500}


def test_events_that_find_the_disk_full_stay_in_the_inbox_and_none_is_parked(
    sqlite_ledger: Ledger, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(sqlite_ledger)
    ids = accept(sqlite_ledger, [TRACK | {"messageId": f"m{n}"} for n in range(300)])
    disk.fill()
    monkeypatch.setattr(ingesting.time, "sleep", lambda _: None)
    with pytest.raises(OperationalError, match="full"):
        ingest(sqlite_ledger, ids)
    disk.clear()
    assert ingest(sqlite_ledger, ids)["mapped"] == 300


def test_patience_ends_well_within_the_lease(sqlite_ledger: Ledger) -> None:
    """If the database stays unavailable, the task ends while it has the lease, and the sweeper takes over."""
    waits: list[float] = []

    def fail(_: Connection) -> None:
        raise OperationalError("", {}, Exception("the server is gone"))

    context = replace(Stage(sqlite_ledger, FakePinterest()).context, sleep=waits.append)
    with pytest.raises(OperationalError):
        context.write(fail)
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert max(waits) < context.lease_seconds / 3


def test_what_is_no_outage_is_not_waited_for(sqlite_ledger: Ledger) -> None:
    waits: list[float] = []

    def fail(_: Connection) -> None:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        replace(Stage(sqlite_ledger, FakePinterest()).context, sleep=waits.append).read(fail)
    assert waits == []
