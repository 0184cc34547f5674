import pytest

from benchmarks.results import Goal, Result, number, of_rounds


@pytest.mark.parametrize(
    ("goal", "met", "missed_by"),
    [
        (Goal("8 times it", 8, 8.0), True, 0.0),
        (Goal("8 times it", 8, 6.0), False, 0.25),
        (Goal("p99 in ms", 50, 50.0, at_most=True), True, 0.0),
        (Goal("p99 in ms", 50, 75.0, at_most=True), False, 0.5),
        (Goal("lost", 0, 1.0, at_most=True), False, 1.0),
    ],
)
def test_a_goal_knows_whether_it_was_met_and_by_how_much_it_was_missed(
    goal: Goal, met: bool, missed_by: float
) -> None:
    assert (goal.met, goal.missed_by) == (met, missed_by)


def test_a_goal_that_was_missed_says_by_how_much() -> None:
    assert str(Goal("8 times it", 8, 6.0)) == "8 times it: missed by 25% (6)"


def test_rounds_become_medians_and_the_ratios_are_printed_first() -> None:
    result = of_rounds(
        "publish", "RabbitMQ", "events/s", {"ours": [300, 200, 900], "the usual way": [10, 30, 20]}
    )
    assert (result.ours, result.ratios, result.rounds) == (300, {"the usual way": 15.0}, 3)
    assert result.lines() == [
        "publish, RabbitMQ",
        "  15 times the usual way",
        "  ours 300, the usual way 20 (events/s, rounds 300, 200, 900)",
    ]


def test_a_result_comes_back_from_json_as_it_was() -> None:
    result = Result(
        "fill", "any", "events", 980.0, {"it": 1.0}, (Goal("950", 950, 980.0),), (1.0, 2.0), ("a note",)
    )
    assert Result.from_dict(result.to_dict()) == result


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (15.0, "15"), (15.26, "15.3"), (0.357, "0.36"), (0.0, "0")]
)
def test_a_number_has_as_many_digits_as_say_something(value: float, text: str) -> None:
    assert number(value) == text
