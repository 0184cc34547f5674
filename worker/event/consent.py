"""Decide whether an event carries the consent that an integration asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from worker.event.text import fold_key, fold_keys

# One thing under two names: consent tools say marketing where ad platforms say advertising.
_TWINS = {"advertising": "marketing", "marketing": "advertising"}
_NESTED = ("categories", "canonical", "categorypreferences")
_GRANTED = frozenset(("true", "granted", "grant", "yes", "allow", "allowed", "1", "opted_in", "optin"))
_DENIED = frozenset(("false", "denied", "deny", "no", "0", "opted_out", "optout"))


@dataclass(frozen=True, slots=True)
class Consent:
    """Say whether consent was given, and why that is the answer."""

    granted: bool
    reason: str


def check_consent(
    event: Mapping[str, Any], categories: Sequence[str], default: Literal["drop", "allow"]
) -> Consent:
    """Grant only where all categories are granted.

    The default speaks for an event that says nothing of consent; one that speaks of other categories only has
    not granted this one.
    """
    if not categories:
        return Consent(True, "the integration asks for no consent")
    context = event.get("context")
    stated = context.get("consent") if isinstance(context, dict) else None
    if stated is None:
        return _BY_DEFAULT[default]
    # Consent in a form that nobody can read is no consent, and is not silence either.
    answers = _answers(stated) if isinstance(stated, dict) else []
    for category in categories:
        answer = _answer(answers, category)
        if answer is None and isinstance(stated, dict) and _are_silent(answers):
            return _BY_DEFAULT[default]
        if not answer:
            what = "was denied" if answer is False else "is not stated"
            return Consent(False, f"consent to {category} {what}")
    return _granted(tuple(categories))


@lru_cache(maxsize=64)
def _granted(categories: tuple[str, ...]) -> Consent:
    return Consent(True, f"consent to {' and '.join(categories)} was granted")


_BY_DEFAULT = {
    "allow": Consent(True, "no consent information, and the source allows such events"),
    "drop": Consent(False, "no consent information, and the source drops such events"),
}


def _answers(stated: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sets of answers that the event brings, under folded keys."""
    found = fold_keys(stated)
    return [_named(found[key]) for key in _NESTED if key in found] or [found]


def _are_silent(answers: list[dict[str, Any]]) -> bool:
    return all(_truth(value) is None for one in answers for value in one.values())


def _named(stated: object) -> dict[str, Any]:
    if isinstance(stated, list):
        # Some consent tools list what was granted.
        return {fold_key(name): True for name in stated if isinstance(name, str)}
    return fold_keys(stated)


def _answer(answers: list[dict[str, Any]], category: str) -> bool | None:
    own = _worst(answers, category)
    twin = _TWINS.get(category)
    return own if own is not None or twin is None else _worst(answers, twin)


def _worst(answers: list[dict[str, Any]], category: str) -> bool | None:
    """Return the answer to a category; of two that contradict each other the denial counts."""
    known = [truth for one in answers if (truth := _truth(one.get(category))) is not None]
    return all(known) if known else None


def _truth(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int):
        word = str(value).strip().lower() if isinstance(value, str) or value in (0, 1) else ""
        return True if word in _GRANTED else False if word in _DENIED else None
    return None
