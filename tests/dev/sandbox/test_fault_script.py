"""A script with unknown keys is refused with their names."""

import pytest

from worker.dev.sandbox.fault_rules import Failing, Marks, Match, RateLimit, Rule, Script, Status, WireFault
from worker.dev.sandbox.fault_script import ScriptError, parse_script
from worker.dev.sandbox.http_server import Fault


def test_an_empty_script_changes_nothing() -> None:
    assert parse_script({}) == Script()


@pytest.mark.parametrize(
    ("rule", "parsed"),
    [
        ({"status": 500}, Rule(Match(), status=Status(500))),
        (
            {"account": "1", "test": False, "times": 2, "after": 3, "probability": 0.5, "latency_seconds": 1},
            Rule(
                Match(frozenset({"1"}), False, probability=0.5, times=2, skip_first=3),
                latency_seconds=(1.0, 1.0),
            ),
        ),
        (
            {"status": 429, "code": 8, "message": "m", "headers": {"Retry-After": 3}, "body": "b"},
            Rule(Match(), status=Status(429, 8, "m", headers={"Retry-After": "3"}, body="b")),
        ),
        (
            {"fail_events": {"positions": [1], "as": 422, "list": "short", "error_message": "no"}},
            Rule(Match(), failing=Failing(Marks(frozenset({1}), frozenset(), 0.0, "no"), 422, "short")),
        ),
        (
            {"warn_events": {"share": 1}},
            Rule(
                Match(),
                warning=Marks(frozenset(), frozenset(), 1.0, "A field of the event is not standard."),
            ),
        ),
        ({"cut": "reset"}, Rule(Match(), wire=WireFault("cut", Fault("reset"), accepting=False))),
        (
            {"accept_then_cut": "close"},
            Rule(Match(), wire=WireFault("accept_then_cut", Fault("close"), accepting=True)),
        ),
        ({"truncate": 10}, Rule(Match(), wire=WireFault("truncate", Fault("truncate", 10), accepting=True))),
        (
            {"drip": {"bytes_per_second": 50}},
            Rule(Match(), wire=WireFault("drip", Fault("drip", 50.0), accepting=True)),
        ),
        ({"rate_limit": {"rps": 10, "burst": 20}}, Rule(Match(), rate_limit=RateLimit(10.0, 20))),
        ({"require_token": ["a", "b"]}, Rule(Match(), require_token=frozenset({"a", "b"}))),
    ],
)
def test_reads_a_rule(rule: object, parsed: Rule) -> None:
    assert parse_script({"rules": [rule]}).rules == (parsed,)


NAMES = "must be at most 15 names of 1 to 100 letters, digits, _ and -."


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ([], "script must be an object."),
        ({"rule": []}, "script has an unknown key 'rule'."),
        ({"seed": "1"}, "script.seed must be an integer from -9007199254740992 to 9007199254740992."),
        ({"failed_as": True}, "script.failed_as must be one of 200, 422."),
        ({"rules": {}}, "script.rules must be a list."),
        ({"rules": [{"status": 500}] * 101}, "script.rules must have at most 100 rules."),
        ({"rules": [{"status": 500}, {"sttus": 500}]}, "rules[1] has an unknown key 'sttus'."),
        ({"names": {"1": ["a b"]}}, f"names.1 {NAMES}"),
        ({"names": {"1": [str(n) for n in range(16)]}}, f"names.1 {NAMES}"),
    ],
)
def test_names_what_is_wrong_with_a_script(script: object, sentence: str) -> None:
    with pytest.raises(ScriptError) as refused:
        parse_script(script)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({}, " must have an action."),
        ({"times": 1}, " must have an action."),
        ({"code": 1, "cut": "close"}, " has an unknown key 'code'."),
        ({"cut": "close", "truncate": 1}, " has an unknown key 'truncate'."),
        ({"status": 500, "cut": "close"}, " must have one action that decides the answer, not 2."),
        ({"status": 99}, ".status must be an integer from 200 to 599."),
        ({"cut": True}, ".cut must be one of 'close', 'reset'."),
        ({"test": 1, "status": 500}, ".test must be true or false."),
        ({"account": 1, "status": 500}, ".account must be a string or a list of strings."),
        ({"probability": 2, "status": 500}, ".probability must be a number from 0 to 1."),
        ({"latency_seconds": [2, 1]}, ".latency_seconds must be seconds, or [least, most] seconds."),
        (
            {"status": 500, "headers": {"a b": "c"}},
            ".headers must have header names of letters, digits and -.",
        ),
        ({"status": 500, "headers": {"a": "c\r\nd"}}, ".headers must be printable ASCII."),
        ({"status": 500, "body": {}}, ".body must be a string."),
        ({"fail_events": {"position": [1]}}, ".fail_events has an unknown key 'position'."),
        ({"fail_events": {"positions": [1000]}}, ".fail_events.positions must be an integer from 0 to 999."),
        ({"fail_events": []}, ".fail_events must be an object."),
        ({"rate_limit": {"rps": 0}}, ".rate_limit.rps must be a number from 0.001 to 1e+06."),
    ],
)
def test_names_what_is_wrong_with_a_rule(rule: object, sentence: str) -> None:
    with pytest.raises(ScriptError) as refused:
        parse_script({"rules": [rule]})
    assert str(refused.value) == f"rules[0]{sentence}"
