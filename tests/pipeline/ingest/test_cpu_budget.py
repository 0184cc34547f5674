"""An event that takes too much processor time is found out; one that had bad luck is not."""

import pytest

from worker.pipeline.ingest import cpu_budget
from worker.pipeline.ingest.cpu_budget import CostlyEventError, within_budget


@pytest.mark.parametrize(
    ("seconds", "deliveries", "tries"),
    [
        ([0.9], 0, 1),
        ([0.9], 1, 1),
        ([2.9], 3, 1),
        # A module was loaded, or the garbage of other events was collected.
        ([3.0, 0.1], 1, 2),
        ([3.0, 1.1], 1, None),
        # Nothing else explains this: a second try would cost as much.
        ([11.0, 0.1], 1, None),
    ],
)
def test_an_event_has_a_budget_for_each_delivery(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], deliveries: int, tries: int | None
) -> None:
    now, took = 0.0, iter(seconds)
    monkeypatch.setattr(cpu_budget, "_MAX_CPU_SECONDS", 1.0)
    monkeypatch.setattr(cpu_budget.time, "thread_time", lambda: now)
    made = 0

    def work() -> str:
        nonlocal now, made
        now += next(took)
        made += 1
        return "mapped"

    if tries is None:
        with pytest.raises(CostlyEventError, match="too much processor time"):
            within_budget(work, lambda _: deliveries)
    else:
        assert within_budget(work, lambda _: deliveries) == "mapped"
        assert made == tries
