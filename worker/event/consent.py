"""Decide whether an event carries the consent that an integration requires."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from worker.event.text import fold_key, fold_keys

# Two names for the same category: consent tools say marketing, ad platforms say advertising.
_SYNONYMS = {"advertising": "marketing", "marketing": "advertising"}
_NESTED = ("categories", "canonical", "categorypreferences")
_GRANTED = frozenset(("true", "granted", "grant", "yes", "allow", "allowed", "1", "opted_in", "optin"))
_DENIED = frozenset(("false", "denied", "deny", "no", "0", "opted_out", "optout"))


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether consent was given, with the reason."""

    granted: bool
    reason: str


def check_consent(
    event: Mapping[str, Any], categories: Sequence[str], default: Literal["drop", "allow"]
) -> Consent:
    """Grant consent only if the event grants all categories.

    ``default`` applies to an event without consent information. An event that only names other categories has not
    granted this category.
    """
    if not categories:
        return Consent(True, "the integration requires no consent")
    context = event.get("context")
    stated = context.get("consent") if isinstance(context, dict) else None
    if stated is None:
        return _BY_DEFAULT[default]
    # Consent in an unknown form is not consent, and the default does not apply either.
    answers = _answers(stated) if isinstance(stated, dict) else []
    for category in categories:
        answer = _answer(answers, category)
        if answer is None and isinstance(stated, dict) and _are_empty(answers):
            return _BY_DEFAULT[default]
        if not answer:
            outcome = "was denied" if answer is False else "is not stated"
            return Consent(False, f"consent to {category} {outcome}")
    return _granted(tuple(categories))


@lru_cache(maxsize=64)
def _granted(categories: tuple[str, ...]) -> Consent:
    return Consent(True, f"consent to {' and '.join(categories)} was granted")


_BY_DEFAULT = {
    "allow": Consent(True, "no consent information, and the source allows such events"),
    "drop": Consent(False, "no consent information, and the source drops such events"),
}


def _answers(stated: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the event's sets of answers, under folded keys."""
    folded = fold_keys(stated)
    return [_named(folded[key]) for key in _NESTED if key in folded] or [folded]


def _are_empty(answers: list[dict[str, Any]]) -> bool:
    return all(_truth(value) is None for answer in answers for value in answer.values())


def _named(stated: object) -> dict[str, Any]:
    if isinstance(stated, list):
        # Some consent tools list what was granted.
        return {fold_key(name): True for name in stated if isinstance(name, str)}
    return fold_keys(stated)


def _answer(answers: list[dict[str, Any]], category: str) -> bool | None:
    stated = _strictest(answers, category)
    synonym = _SYNONYMS.get(category)
    return stated if stated is not None or synonym is None else _strictest(answers, synonym)


def _strictest(answers: list[dict[str, Any]], category: str) -> bool | None:
    """Return the answer to a category; if two answers contradict each other, the denial counts."""
    truths = [truth for answer in answers if (truth := _truth(answer.get(category))) is not None]
    return all(truths) if truths else None


def _truth(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int):
        word = str(value).strip().lower() if isinstance(value, str) or value in (0, 1) else ""
        return True if word in _GRANTED else False if word in _DENIED else None
    return None
