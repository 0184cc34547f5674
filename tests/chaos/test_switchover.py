"""A standby takes over from the primary: every process continues with it."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from tests.chaos.databases import Cluster, postgresql_cluster
from tests.conftest import KEY
from tests.ledger.shop import accept, place
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.migrate import migrate
from worker.monitoring import checks
from worker.monitoring.checks import State
from worker.settings import parse

TRACK = {"type": "track", "event": "Signed Up", "context": {"ip": "203.0.113.5", "userAgent": "Mozilla/5.0"}}


@pytest.fixture
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """Lend a primary, and a standby that streams from it and confirms each commit."""
    folder = Path(tempfile.mkdtemp(prefix="pair-"))
    folder.chmod(0o755)
    try:
        with (
            postgresql_cluster(folder / "primary") as primary,
            primary.standby(folder / "standby") as standby,
        ):
            yield primary, standby
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize("demotion", ["killed", "turned read-only"])
def test_after_a_promotion_events_are_accepted_again_without_a_restart(
    pair: tuple[Cluster, Cluster], demotion: str, tmp_path: Path
) -> None:
    primary, standby = pair
    ports = [make_url(one.url).port for one in pair]
    given = f"postgresql://signal@127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/postgres"
    ledger = Ledger(parse({"DATABASE_URL": given, "SIGNAL_VAR": str(tmp_path)}).database_url, (KEY,))
    migrate(ledger)
    ledger.vault.prepare()
    place(ledger)
    accepted: list[float] = []
    errors: list[Exception] = []
    done = threading.Event()

    def feed() -> None:
        number = 0
        while not done.is_set():
            number += 1
            try:
                accept(ledger, [TRACK | {"messageId": f"m{number}"}])
                accepted.append(time.monotonic())
            except Exception as error:  # noqa: BLE001
                errors.append(error)
                time.sleep(0.1)

    threads = [threading.Thread(target=feed) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    began = time.monotonic()
    if demotion == "killed":
        primary.kill()
    else:
        primary.turn_read_only()
    standby.promote()
    promoted = time.monotonic()
    until_found = promoted + 15.0
    while time.monotonic() < until_found and not any(at > promoted for at in accepted):
        time.sleep(0.1)
    time.sleep(1.0)
    done.set()
    for thread in threads:
        thread.join()
    first = min(at for at in accepted if at > promoted)
    print(
        f"\n{demotion}: accepted again {first - promoted:.1f} s after the promotion, "
        f"{first - began:.1f} s after the primary's end"
    )
    assert first - promoted < 10.0
    assert all(map(is_ledger_unavailable, errors))
    assert checks.check_database(ledger).state is State.OK
    with ledger.read() as connection:
        assert connection.scalar(text("SHOW port")) == str(ports[1])
        assert (connection.scalar(text("SELECT count(*) FROM inbox")) or 0) >= len(accepted)
    ledger.dispose()
