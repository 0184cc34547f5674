"""Both /metrics show the deliveries of Celery's workers."""

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.shop import Shop, Visitor
from tests.integration.stack import Stack
from tests.integration.waiting import until


def _value(url: str, name: str, **labels: str) -> float:
    answer = requests.get(f"{url}/metrics", timeout=15)
    assert answer.status_code == 200, answer.text
    found = [
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) == 1, (name, labels, answer.text)
    return found[0]


@pytest.mark.slow
def test_a_delivery_by_live_processes_reaches_the_metrics_of_collector_and_management(stack: Stack) -> None:
    urls = (stack.collector_url, stack.management_url)
    before = {url: _value(url, "signal_deliveries_total", outcome="delivered") for url in urls}
    shop = Shop(stack)
    shop.send("/v1/p", {}, Visitor())

    for url in urls:
        until(
            f"{url} counts the delivery",
            lambda url=url: _value(url, "signal_deliveries_total", outcome="delivered") >= before[url] + 1,
        )
        until(
            f"{url} shows that nothing waits",
            lambda url=url: _value(url, "signal_deliveries_pending", ad_account=shop.account) == 0,
        )
        assert _value(url, "signal_events_accepted_total") >= 1
    assert shop.post("/v1/t", {"event": ""}).status_code == 400
    duration = "signal_pinterest_request_duration_seconds_count"
    for url in urls:
        # Measurements of processes reach the ledger within a few seconds.
        for name, labels in (
            (duration, {"status": "2xx"}),
            ("signal_batch_events_count", {}),
            ("signal_messages_published_total", {"queue": "events"}),
            ("signal_messages_published_total", {"queue": "delivery"}),
            ("signal_events_rejected_total", {"reason": "invalid_event"}),
            ("signal_collector_request_duration_seconds_count", {}),
        ):
            until(f"{url} shows {name} {labels}", lambda u=url, n=name, by=labels: _value(u, n, **by) >= 1)
    for url in urls:
        assert requests.get(f"{url}/readyz", timeout=15).json()["status"] == "ok"
