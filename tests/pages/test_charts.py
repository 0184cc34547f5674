"""Charts are drawn to scale, with round marks."""

import pytest

from worker.operations.reports.overview import Bar
from worker.pages.charts import _axis_marks, draw_counts, draw_outcomes, draw_share
from worker.pages.routes.overview import _SPANS


def test_bars_stand_on_each_other_below_a_round_number() -> None:
    drawn = draw_outcomes(
        [Bar(0, 3, 1, 0), Bar(3_600, 0, 0, 0)], [Bar(0, 2, 0, 0), Bar(3_600, 4, 0, 0)], _SPANS["24h"]
    )

    assert drawn.count('<rect class="hit"') == 2
    assert '<rect class="delivered" x="45.00" y="50.00" width="410.00" height="150.00"/>' in drawn
    assert '<rect class="failed" x="45.00" y="0.00" width="410.00" height="50.00"/>' in drawn
    assert '<polyline class="before" points="250.0,100.0 750.0,0.0"/>' in drawn
    assert "<title>1970-01-01 00:00 UTC: 3 delivered, 1 failed, 0 filtered</title>" in drawn
    assert "<span>4</span><span>3</span><span>2</span><span>1</span><span>0</span>" in drawn


def test_nothing_is_a_chart_too() -> None:
    assert 'class="delivered"' not in draw_outcomes([Bar(0, 0, 0, 0)], [Bar(0, 0, 0, 0)], _SPANS["24h"])
    assert "<rect" not in draw_counts("Orders", [], ("UTC",))
    assert 'width="0.00"' in draw_share(0, 0)


@pytest.mark.parametrize(
    ("highest", "marks"),
    [
        (0, [0, 1]),
        (3, [0, 1, 2, 3]),
        (9, [0, 5, 10]),
        (100, [0, 50, 100]),
        (410, [0, 200, 400, 600]),
        (1_234_567, [0, 500_000, 1_000_000, 1_500_000]),
    ],
)
def test_an_axis_ends_with_a_round_number_and_has_few_marks(highest: float, marks: list[float]) -> None:
    assert _axis_marks(highest) == marks
