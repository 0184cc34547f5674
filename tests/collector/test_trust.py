"""Only a signature makes an event trusted: the pipeline key is in every page."""

from typing import Any

from sqlalchemy import select

from tests.collector.conftest import Collector
from worker.event.received import Trust
from worker.ledger.schema import inbox

EVENT = {"type": "track", "event": "Order Completed", "messageId": "m1"}
CLAIMS_A_SERVER = EVENT | {"context": {"library": {"name": "shop-server"}}, "trust": 1}


def trusts(collector: Collector) -> list[Any]:
    with collector.ledger.read() as connection:
        return list(connection.scalars(select(inbox.c.trust).order_by(inbox.c.id)))


def test_a_signed_event_is_kept_as_signed(collector: Collector) -> None:
    collector.send_signed("/v1/events", EVENT)
    collector.send_signed("/v1/batch", {"batch": [EVENT, EVENT]})
    assert trusts(collector) == [Trust.SIGNED] * 3


def test_an_event_with_the_pipeline_key_is_public_whatever_it_claims(collector: Collector) -> None:
    collector.send("/v1/t", EVENT)
    collector.send("/v1/t", CLAIMS_A_SERVER)
    collector.send("/v1/batch", {"batch": [EVENT, CLAIMS_A_SERVER]})
    assert trusts(collector) == [Trust.PUBLIC] * 4


def test_a_wrong_signature_is_refused_and_not_taken_for_public(collector: Collector) -> None:
    answer = collector.send_signed("/v1/batch", {"batch": [EVENT]}, signature="sha256=" + "0" * 64)
    assert (answer.status_code, trusts(collector)) == (401, [])
