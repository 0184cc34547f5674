"""With tracing on, the way of a request from the collector to Pinterest is one trace."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.ledger.shop import NOW, place
from tests.pipeline.ingest.test_ingest_bulk import order
from tests.pipeline.sandbox import FakePinterest, Stage
from worker.collector import intake
from worker.collector.intake import GroupCommit
from worker.event.received import Received
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.intake.inbox import Accepted
from worker.monitoring import tracing
from worker.monitoring.tracing import _Tracer
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.settings import SettingsError

ROOT = Path(__file__).parents[2]
EMAIL = "jane@example.org"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), tracing._provider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = _Tracer(provider)
    monkeypatch.setattr(tracing, "tracer", lambda: made)
    yield exporter
    provider.shutdown()


def _accepted(ledger: Ledger, at: float, name: str) -> Accepted:
    event = order(name, traits={"email": EMAIL})
    text = json.dumps({"event": event, "received": Received(channel="server", received_at=at).to_dict()})
    return Accepted("src_shop", None, None, False, at, ledger.vault.seal(text.encode(), inbox.BODY))


def _traces(exporter: InMemorySpanExporter) -> dict[int, list[tuple[str, Any]]]:
    found: dict[int, list[tuple[str, Any]]] = {}
    for span in exporter.get_finished_spans():
        assert span.context is not None
        found.setdefault(span.context.trace_id, []).append((span.name, (span.attributes or {})["events"]))
    return found


def test_collector_ingest_and_delivery_speak_of_the_same_traces(
    sqlite_ledger: Ledger, spans: InMemorySpanExporter
) -> None:
    ledger, now = sqlite_ledger, time.time()
    place(ledger)
    ids: list[int] = []
    for at, names in ((now - 2.000001, ("a", "b")), (now - 1.25, ("c",))):
        events = [_accepted(ledger, at, name) for name in names]
        intake.store(GroupCommit(ledger).accept, lambda some: ids.extend(some) or len(some), events, at)
    ingest(ledger, ids)
    stage = Stage(ledger, FakePinterest(), now=now)
    stage.batch()
    stage.run()

    way = ("collector.accept", "ingest.map", "delivery.send")
    assert sorted(_traces(spans).values()) == sorted(
        [[(step, 2) for step in way], [(step, 1) for step in way]]
    )
    text = "".join(span.to_json() for span in spans.get_finished_spans())
    assert [word for word in (EMAIL, "203.0.113.9", "Mozilla", "order_id", "src_shop") if word in text] == []


def test_every_process_keeps_the_same_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    kept: list[set[float]] = []
    for name in ("collector.accept", "delivery.send"):
        exporter, provider = InMemorySpanExporter(), tracing._provider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        made = _Tracer(provider)
        for number in range(400):
            made.record(name, [tracing.Request("src_1", NOW + number)], NOW, number=number)
        found: tuple[ReadableSpan, ...] = exporter.get_finished_spans()
        kept.append({float((span.attributes or {})["number"]) for span in found})  # type: ignore[arg-type]
        provider.shutdown()

    assert kept[0] == kept[1]
    assert 60 < len(kept[0]) < 140


def test_it_is_off_by_default_and_loads_nothing_then() -> None:
    code = (
        "import sys, worker.collector.wsgi\n"
        "import worker.pipeline.delivery.apply_decision, worker.pipeline.ingest.ingest_bulk\n"
        "from worker.monitoring import tracing\n"
        "assert not tracing.tracer()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env={}, capture_output=True, text=True, cwd=ROOT
    )

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_what_is_missing_or_wrong_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    tracing.tracer.cache_clear()
    monkeypatch.setenv(tracing._ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"is set, and needs `pip install 'signal-worker\[otel\]'`\."):
        tracing.tracer()
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "half")
    with pytest.raises(SettingsError, match="must be a share from 0 to 1, not 'half'"):
        tracing._provider()
