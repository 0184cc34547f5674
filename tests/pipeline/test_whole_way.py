"""Events go the whole way, on both databases, through trouble of every kind; the books balance throughout."""

import random
import time
from typing import Any

from tests.ledger.shop import close, place, stand
from tests.pipeline.ingest.test_ingest_bulk import order, take_in
from tests.pipeline.sandbox import FakePinterest, Stage, accepted, answer, refused, trouble
from tests.pipeline.upkeep.test_sweeping import Sent
from worker.ledger.database import Ledger
from worker.ledger.delivery import batches
from worker.pinterest.client.breaker import BreakerPolicy
from worker.pinterest.client.client import Answer, SendFailure
from worker.pipeline.ingest.ingest_bulk import ingest

BAD = {"m7", "m33", "m34"}


class Moody:
    """Answer well, partly, not at all, too late or with an error, by seeded dice."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.taken: list[str] = []

    def __call__(self, events: list[dict[str, Any]]) -> Answer:
        ids = [event["event_id"] for event in events]
        mood = self.dice.random()
        if mood < 0.15:
            return self.dice.choice([answer(500), answer(503), answer(429, Retry_After="3")])
        if mood < 0.25:
            return trouble(SendFailure.NOT_SENT)
        if BAD & set(ids):
            return refused(f"data[{self.dice.randrange(9)}].custom_data is not allowed")
        self.taken += ids
        if mood < 0.35:
            # The answer is lost after the events were taken.
            return trouble(SendFailure.UNKNOWN)
        return accepted(events, failed=[one for one in ids if one == "m50"])


def test_every_event_comes_to_one_end_and_every_delivered_one_arrived(ledger: Ledger) -> None:
    place(ledger, test_mode=True)
    pinterest = Moody(seed=5)
    s = Stage(ledger, FakePinterest(pinterest), breaker=BreakerPolicy(4, 2.0, 8.0))
    ids = take_in(ledger, *(order(str(number), anonymousId=f"d{number % 9}") for number in range(90)))
    ingest(ledger, ids)
    s.now = time.time()
    dice, sent = random.Random(6), Sent()
    for _ in range(400):
        s.batch()
        sent.sweep(ledger, s.now)
        for batch_id in [*s.hinted, *sent.batches]:
            if dice.random() < 0.1:
                # A worker dies while it has the batch.
                with ledger.write() as connection:
                    if isinstance(batches.start_batch(connection, batch_id, 60, s.now), batches.Postponed):
                        connection.rollback()
            else:
                s.deliver(batch_id)
        s.hinted.clear()
        s.now += 5
        found = close(ledger).deliveries
        if not found.get("pending") and not found.get("in_flight"):
            break
    assert stand(ledger) == {"tested": 86, "failed": 4}
    assert {f"m{number}" for number in range(90)} - BAD == set(pinterest.taken)
