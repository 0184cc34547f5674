"""Read the script that tells the sandbox how to misbehave."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from worker.dev.sandbox import reading
from worker.dev.sandbox.fault_rules import (
    FOREVER,
    Failing,
    Marks,
    Match,
    RateLimit,
    Rule,
    Script,
    Status,
    WireFault,
)
from worker.dev.sandbox.http import Fault
from worker.dev.sandbox.oauth import AccountScript
from worker.dev.sandbox.reading import Reader, ScriptError

_MAX_RULES = 100
_MAX_DEFINED_NAMES = 15
_LONGEST_LATENCY_SECONDS = 3_600.0

_T = TypeVar("_T")
_is_event_name = re.compile(r"[A-Za-z0-9_-]{1,100}").fullmatch
_is_header_name = re.compile(r"[A-Za-z0-9-]{1,100}").fullmatch


def parse_script(value: object) -> Script:
    """Read a script; raises ScriptError with a sentence naming the key that is wrong.

    A script is `{"seed": 1, "failed_as": 200 | 422, "names": {account: [event name]}, "now_seconds": time,
    "account_api": {…}, "rules": [rule]}`, every key of it optional;
    `AccountScript` has the keys of `account_api`. A rule matches by `account`, `test`, `event_id`,
    `event_name` (one or a list), then by `after` (how many to skip), `times` (how often to apply) and `probability`.
    It does
    `latency_seconds` (a number, or [least, most]), `fail_events` (`positions`, `event_ids`, `share`,
    `error_message`, `as`: 200 | 422, `list`: full | none | short | long), `warn_events` (the same marks,
    `warning_message`), and one of: `status` (with `code`, `message`, `details`, `headers`, raw `body`,
    `accepting`), `cut` or `accept_then_cut` (close | reset), `truncate` (bytes of the body), `drip`
    (`bytes_per_second`), `rate_limit` (`rps`, `burst`), `require_token` (the good ones).
    """
    reader = Reader(value, "script")
    rules = reader.take("rules", reading.read_list, [])
    if len(rules) > _MAX_RULES:
        raise ScriptError(f"script.rules must have at most {_MAX_RULES} rules.")
    script = Script(
        seed=reader.take("seed", reading.read_integer(-(2**53), 2**53), 0),
        rules=tuple(_parse_rule(Reader(rule, f"rules[{n}]")) for n, rule in enumerate(rules)),
        failed_as=reader.take("failed_as", reading.read_choice([200, 422]), 200),
        names=_parse_names(reader.take("names", reading.read_object, {})),
        now_seconds=reader.take("now_seconds", reading.read_number(0, 2**40), None),
        account_api=_nested(reader, "account_api", _parse_account_api) or AccountScript(),
    )
    reader.finish()
    return script


def _parse_names(value: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    reader = Reader(value, "names")
    names = {account: reader.take(account, reading.read_texts, frozenset()) for account in value}
    for account, defined in names.items():
        if len(defined) > _MAX_DEFINED_NAMES or not all(map(_is_event_name, defined)):
            raise ScriptError(
                f"names.{account} must be at most {_MAX_DEFINED_NAMES} names"
                " of 1 to 100 letters, digits, _ and -."
            )
    return names


def _parse_account_api(reader: Reader) -> AccountScript:
    usual = AccountScript()
    kinds: dict[type, Callable[[object], Any]] = {
        str: reading.read_text,
        bool: reading.read_flag,
        int: reading.read_number(0, 2**40),
        list: reading.read_list,
        dict: reading.read_object,
    }
    return AccountScript(
        **{name: reader.take(name, kinds[type(value)], value) for name, value in vars(usual).items()}
    )


def _parse_rule(reader: Reader) -> Rule:
    rule = Rule(
        match=_parse_match(reader),
        latency_seconds=reader.take("latency_seconds", _latency, (0.0, 0.0)),
        failing=_nested(reader, "fail_events", _parse_failing),
        warning=_nested(reader, "warn_events", _parse_warning),
        status=_parse_status(reader),
        wire=_parse_wire(reader),
        rate_limit=_nested(reader, "rate_limit", _parse_rate_limit),
        require_token=reader.take("require_token", reading.read_texts, None),
    )
    reader.finish()
    deciding = [rule.status, rule.wire, rule.rate_limit, rule.require_token]
    count = sum(action is not None for action in deciding)
    if count > 1:
        raise ScriptError(f"{reader.where} must have one action that decides the answer, not {count}.")
    if not (count or rule.failing or rule.warning or rule.latency_seconds[1]):
        raise ScriptError(f"{reader.where} must have an action.")
    return rule


def _nested(reader: Reader, key: str, parse: Callable[[Reader], _T]) -> _T | None:
    value = reader.take(key, reading.read_object, None)
    if value is None:
        return None
    inner = Reader(value, f"{reader.where}.{key}")
    parsed = parse(inner)
    inner.finish()
    return parsed


def _parse_match(reader: Reader) -> Match:
    return Match(
        accounts=reader.take("account", reading.read_texts, None),
        test=reader.take("test", reading.read_flag, None),
        event_ids=reader.take("event_id", reading.read_texts, None),
        event_names=reader.take("event_name", reading.read_texts, None),
        probability=reader.take("probability", reading.read_number(0, 1), 1.0),
        times=reader.take("times", reading.read_integer(0, FOREVER), FOREVER),
        skip_first=reader.take("after", reading.read_integer(0, FOREVER), 0),
    )


def _parse_status(reader: Reader) -> Status | None:
    status = reader.take("status", reading.read_integer(200, 599), None)
    if status is None:
        return None
    return Status(
        status=status,
        code=reader.take("code", reading.read_integer(-(2**31), 2**31), None),
        message=reader.take("message", reading.read_text, None),
        details=reader.take("details", reading.read_object, None),
        headers=reader.take("headers", _headers, {}),
        body=reader.take("body", reading.read_text, None),
        accepting=reader.take("accepting", reading.read_flag, False),
    )


def _parse_wire(reader: Reader) -> WireFault | None:
    """Read the network fault; a second one stays in the object, which reports it as an unknown key."""
    ends = reading.read_choice(["close", "reset"])
    cut = reader.take("cut", ends, None)
    if cut:
        return WireFault("cut", Fault(cut), accepting=False)
    accept_then_cut = reader.take("accept_then_cut", ends, None)
    if accept_then_cut:
        return WireFault("accept_then_cut", Fault(accept_then_cut), accepting=True)
    body_bytes = reader.take("truncate", reading.read_integer(0, 2**30), None)
    if body_bytes is not None:
        return WireFault("truncate", Fault("truncate", body_bytes), accepting=True)
    bytes_per_second = _nested(
        reader, "drip", lambda drip: drip.take("bytes_per_second", reading.read_number(0.1, 1e9), 10.0)
    )
    if bytes_per_second is None:
        return None
    return WireFault("drip", Fault("drip", bytes_per_second), accepting=True)


def _parse_marks(reader: Reader, message_key: str, usual: str) -> Marks:
    return Marks(
        positions=reader.take("positions", _positions, frozenset()),
        event_ids=reader.take("event_ids", reading.read_texts, frozenset()),
        share=reader.take("share", reading.read_number(0, 1), 0.0),
        message=reader.take(message_key, reading.read_text, usual),
    )


def _parse_failing(reader: Reader) -> Failing:
    return Failing(
        marks=_parse_marks(reader, "error_message", "The event could not be processed."),
        answer_as=reader.take("as", reading.read_choice([200, 422]), None),
        listing=reader.take("list", reading.read_choice(["full", "none", "short", "long"]), "full"),
    )


def _parse_warning(reader: Reader) -> Marks:
    return _parse_marks(reader, "warning_message", "A field of the event is not standard.")


def _parse_rate_limit(reader: Reader) -> RateLimit:
    per_second = reader.take("rps", reading.read_number(0.001, 1e6), 100.0)
    return RateLimit(per_second, reader.take("burst", reading.read_integer(1, 10**6), 200))


def _latency(value: object) -> tuple[float, float]:
    seconds = reading.read_number(0, _LONGEST_LATENCY_SECONDS)
    if not isinstance(value, list):
        return seconds(value), seconds(value)
    if len(value) != 2 or not seconds(value[0]) <= seconds(value[1]):
        raise ValueError("must be seconds, or [least, most] seconds")
    return seconds(value[0]), seconds(value[1])


def _positions(value: object) -> frozenset[int]:
    position = reading.read_integer(0, 999)
    return frozenset(position(item) for item in reading.read_list(value))


def _headers(value: object) -> dict[str, str]:
    headers = {name: reading.read_header_text(held) for name, held in reading.read_object(value).items()}
    if not all(map(_is_header_name, headers)):
        raise ValueError("must have header names of letters, digits and -")
    return headers
