"""Read the script that tells the sandbox how to misbehave."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

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
from worker.dev.sandbox.http_server import Fault
from worker.dev.sandbox.oauth import AccountScript

_T = TypeVar("_T")
_D = TypeVar("_D")
Reads = Callable[[Any], _T]
"""Converts a JSON value, or raises a ValueError that says what the value must be."""


class ScriptError(Exception):
    """A script that cannot be followed; the message is one sentence that names the key."""


class _Reader:
    """An object whose keys are taken one by one; what is left over is an error."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ScriptError(f"{where} must be an object.")
        self._rest = dict(value)
        self.where = where

    def take(self, key: str, reads: Reads[_T], default: _D) -> _T | _D:
        """Take a key out, or the default where it is absent."""
        if key not in self._rest:
            return default
        value = self._rest.pop(key)
        try:
            return reads(value)
        except ValueError as error:
            raise ScriptError(f"{self.where}.{key} {error}.") from None

    def finish(self) -> None:
        """Raise an error about the first key that was not taken."""
        for key in self._rest:
            raise ScriptError(f"{self.where} has an unknown key {key[:60]!r}.")


def _read_flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _read_text(value: object) -> str:
    """Read a string."""
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def _read_header_text(value: object) -> str:
    """Read a string that is valid in an HTTP header."""
    string = str(value) if isinstance(value, int) and not isinstance(value, bool) else _read_text(value)
    if not (string.isascii() and string.isprintable()):
        raise ValueError("must be printable ASCII")
    return string


def _read_texts(value: object) -> frozenset[str]:
    """Read a string or a list of strings."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(item, str) for item in values):
        raise ValueError("must be a string or a list of strings")
    return frozenset(values)


def _read_list(value: object) -> list[Any]:
    """Read a list."""
    if not isinstance(value, list):
        raise ValueError("must be a list")
    return value


def _read_object(value: object) -> dict[str, Any]:
    """Read an object as it is."""
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return value


def _read_number(minimum: float, maximum: float) -> Reads[float]:
    """Read a number within a range."""

    def reads(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= maximum:
            raise ValueError(f"must be a number from {minimum:g} to {maximum:g}")
        return float(value)

    return reads


def _read_integer(minimum: int, maximum: int) -> Reads[int]:
    """Read an integer within a range."""

    def reads(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError(f"must be an integer from {minimum} to {maximum}")
        return value

    return reads


def _read_choice(choices: Sequence[_T]) -> Reads[_T]:
    """Read one of the given values; true does not count as 1."""

    def reads(value: object) -> _T:
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return choice
        raise ValueError(f"must be one of {', '.join(map(repr, choices))}")

    return reads


_MAX_RULES = 100
_MAX_DEFINED_NAMES = 15
_LONGEST_LATENCY_SECONDS = 3_600.0

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
    reader = _Reader(value, "script")
    rules = reader.take("rules", _read_list, [])
    if len(rules) > _MAX_RULES:
        raise ScriptError(f"script.rules must have at most {_MAX_RULES} rules.")
    script = Script(
        seed=reader.take("seed", _read_integer(-(2**53), 2**53), 0),
        rules=tuple(_parse_rule(_Reader(rule, f"rules[{n}]")) for n, rule in enumerate(rules)),
        failed_as=reader.take("failed_as", _read_choice([200, 422]), 200),
        names=_parse_names(reader.take("names", _read_object, {})),
        now_seconds=reader.take("now_seconds", _read_number(0, 2**40), None),
        account_api=_nested(reader, "account_api", _parse_account_api) or AccountScript(),
    )
    reader.finish()
    return script


def _parse_names(value: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    reader = _Reader(value, "names")
    names = {account: reader.take(account, _read_texts, frozenset()) for account in value}
    for account, defined in names.items():
        if len(defined) > _MAX_DEFINED_NAMES or not all(map(_is_event_name, defined)):
            raise ScriptError(
                f"names.{account} must be at most {_MAX_DEFINED_NAMES} names"
                " of 1 to 100 letters, digits, _ and -."
            )
    return names


def _parse_account_api(reader: _Reader) -> AccountScript:
    defaults = AccountScript()
    kinds: dict[type, Callable[[object], Any]] = {
        str: _read_text,
        bool: _read_flag,
        int: _read_number(0, 2**40),
        list: _read_list,
        dict: _read_object,
    }
    return AccountScript(
        **{name: reader.take(name, kinds[type(value)], value) for name, value in vars(defaults).items()}
    )


def _parse_rule(reader: _Reader) -> Rule:
    rule = Rule(
        match=_parse_match(reader),
        latency_seconds=reader.take("latency_seconds", _latency, (0.0, 0.0)),
        failing=_nested(reader, "fail_events", _parse_failing),
        warning=_nested(reader, "warn_events", _parse_warning),
        status=_parse_status(reader),
        wire=_parse_wire(reader),
        rate_limit=_nested(reader, "rate_limit", _parse_rate_limit),
        require_token=reader.take("require_token", _read_texts, None),
    )
    reader.finish()
    deciding = [rule.status, rule.wire, rule.rate_limit, rule.require_token]
    count = sum(action is not None for action in deciding)
    if count > 1:
        raise ScriptError(f"{reader.where} must have one action that decides the answer, not {count}.")
    if not (count or rule.failing or rule.warning or rule.latency_seconds[1]):
        raise ScriptError(f"{reader.where} must have an action.")
    return rule


def _nested(reader: _Reader, key: str, parse: Callable[[_Reader], _T]) -> _T | None:
    value = reader.take(key, _read_object, None)
    if value is None:
        return None
    inner = _Reader(value, f"{reader.where}.{key}")
    result = parse(inner)
    inner.finish()
    return result


def _parse_match(reader: _Reader) -> Match:
    return Match(
        accounts=reader.take("account", _read_texts, None),
        test=reader.take("test", _read_flag, None),
        event_ids=reader.take("event_id", _read_texts, None),
        event_names=reader.take("event_name", _read_texts, None),
        probability=reader.take("probability", _read_number(0, 1), 1.0),
        times=reader.take("times", _read_integer(0, FOREVER), FOREVER),
        skip_first=reader.take("after", _read_integer(0, FOREVER), 0),
    )


def _parse_status(reader: _Reader) -> Status | None:
    status = reader.take("status", _read_integer(200, 599), None)
    if status is None:
        return None
    return Status(
        status=status,
        code=reader.take("code", _read_integer(-(2**31), 2**31), None),
        message=reader.take("message", _read_text, None),
        details=reader.take("details", _read_object, None),
        headers=reader.take("headers", _headers, {}),
        body=reader.take("body", _read_text, None),
        accepting=reader.take("accepting", _read_flag, False),
    )


def _parse_wire(reader: _Reader) -> WireFault | None:
    """Read the network fault; a second one stays in the object, which reports it as an unknown key."""
    ends = _read_choice(["close", "reset"])
    ending = reader.take("cut", ends, None)
    if ending:
        return WireFault("cut", Fault(ending), accepting=False)
    accept_then_cut = reader.take("accept_then_cut", ends, None)
    if accept_then_cut:
        return WireFault("accept_then_cut", Fault(accept_then_cut), accepting=True)
    body_bytes = reader.take("truncate", _read_integer(0, 2**30), None)
    if body_bytes is not None:
        return WireFault("truncate", Fault("truncate", body_bytes), accepting=True)
    bytes_per_second = _nested(
        reader, "drip", lambda drip: drip.take("bytes_per_second", _read_number(0.1, 1e9), 10.0)
    )
    if bytes_per_second is None:
        return None
    return WireFault("drip", Fault("drip", bytes_per_second), accepting=True)


def _parse_marks(reader: _Reader, message_key: str, default: str) -> Marks:
    return Marks(
        positions=reader.take("positions", _positions, frozenset()),
        event_ids=reader.take("event_ids", _read_texts, frozenset()),
        share=reader.take("share", _read_number(0, 1), 0.0),
        message=reader.take(message_key, _read_text, default),
    )


def _parse_failing(reader: _Reader) -> Failing:
    return Failing(
        marks=_parse_marks(reader, "error_message", "The event could not be processed."),
        answer_as=reader.take("as", _read_choice([200, 422]), None),
        listing=reader.take("list", _read_choice(["full", "none", "short", "long"]), "full"),
    )


def _parse_warning(reader: _Reader) -> Marks:
    return _parse_marks(reader, "warning_message", "A field of the event is not standard.")


def _parse_rate_limit(reader: _Reader) -> RateLimit:
    per_second = reader.take("rps", _read_number(0.001, 1e6), 100.0)
    return RateLimit(per_second, reader.take("burst", _read_integer(1, 10**6), 200))


def _latency(value: object) -> tuple[float, float]:
    seconds = _read_number(0, _LONGEST_LATENCY_SECONDS)
    if not isinstance(value, list):
        return seconds(value), seconds(value)
    if len(value) != 2 or not seconds(value[0]) <= seconds(value[1]):
        raise ValueError("must be seconds, or [least, most] seconds")
    return seconds(value[0]), seconds(value[1])


def _positions(value: object) -> frozenset[int]:
    position = _read_integer(0, 999)
    return frozenset(position(item) for item in _read_list(value))


def _headers(value: object) -> dict[str, str]:
    headers = {name: _read_header_text(text) for name, text in _read_object(value).items()}
    if not all(map(_is_header_name, headers)):
        raise ValueError("must have header names of letters, digits and -")
    return headers
