"""Decide whether an event carries the consent that an integration requires."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from worker.event.consent.statements import PLAIN, Statements
from worker.event.consent.vocabulary import ADVERTISING
from worker.event.text import fold_key

_MOST_CACHED_ENTRIES, _LONGEST_CACHED_NAME = 8, 64
_NONE = "no statement"


@dataclass(frozen=True, slots=True)
class _Consent:
    """Whether consent was given, and why.

    ``form`` names the form in which the event states consent. ``is_unreadable`` means that something was said
    that is not understood, which counts as a no; ``is_denied``, that the event itself says no.
    """

    granted: bool
    reason: str
    form: str = PLAIN
    is_unreadable: bool = False
    is_denied: bool = False


def check_consent(
    event: Mapping[str, Any],
    categories: Sequence[str],
    default: Literal["drop", "allow"],
    *,
    gpc: bool = False,
    groups: Mapping[str, str] | None = None,
) -> _Consent:
    """Grant consent only if the event grants all categories.

    ``default`` applies only to an event that says nothing about consent. Everything that is not a known yes is a no.
    ``gpc`` is a browser's Global Privacy Control; ``groups`` are the source's own names of a consent tool's groups.
    """
    if not categories:
        return _NOT_REQUIRED
    context = event.get("context")
    context = context if type(context) is dict else {}
    statement = context.get("consent")
    other_statements = _other_statements(event, context)
    if not (other_statements or gpc or groups):
        if statement is None or statement in ("", {}, []):
            return _BY_DEFAULT[default]
        if type(statement) is dict and _is_plain(statement):
            return _check_plain(tuple(statement.items()), tuple(categories))
    return _check_all(statement, other_statements, tuple(categories), default, gpc, groups)


def withdraws_advertising(
    event: Mapping[str, Any], *, gpc: bool = False, groups: Mapping[str, str] | None = None
) -> bool:
    """Return whether an event says no to advertising, so that what was kept for advertising is to be forgotten."""
    return check_consent(event, ADVERTISING[:1], "allow", gpc=gpc, groups=groups).is_denied


# Segment's name is the first. Other events repeat an earlier choice.
_NEW_CHOICES = frozenset(
    ("segmentconsentpreferenceupdated", "consentpreferenceupdated", "consentupdated", "consentgranted")
)


def renews_consent(event: Mapping[str, Any]) -> bool:
    """Return whether an event is a new choice about consent, with an explicit yes to advertising."""
    name = event.get("event")
    if not isinstance(name, str) or fold_key(name) not in _NEW_CHOICES:
        return False
    return check_consent(event, ADVERTISING[:1], "drop").granted


def _is_plain(statement: dict[str, Any]) -> bool:
    """Return whether an object only has booleans, so that a tuple of its entries can be cached."""
    return (
        len(statement) <= _MOST_CACHED_ENTRIES
        and set(map(type, statement.values())) == {bool}
        and max(map(len, statement)) <= _LONGEST_CACHED_NAME
    )


@lru_cache(maxsize=1024)
def _check_plain(entries: tuple[tuple[str, bool], ...], categories: tuple[str, ...]) -> _Consent:
    return _check_all(dict(entries), [], categories, "drop", False, None)


def _check_all(
    stated: Any,
    other_statements: Sequence[tuple[str, Any]],
    categories: tuple[str, ...],
    default: Literal["drop", "allow"],
    gpc: bool,
    groups: Mapping[str, str] | None,
) -> _Consent:
    statements = Statements(groups)
    if gpc:
        statements.deny_advertising()
    is_silent = stated is None or stated in ({}, []) or (type(stated) is str and not stated.strip())
    if not is_silent:
        statements.read(stated)
    for kind, value in other_statements:
        if kind == _DENIAL:
            statements.read_denials(value)
        elif kind == _GPC:
            statements.read_gpc(value)
        else:
            statements.read(value)
            is_silent = is_silent and kind == _TENTATIVE and not statements.holds_something
    return _verdict(statements, categories, _BY_DEFAULT[default] if is_silent else None)


def _verdict(statements: Statements, categories: tuple[str, ...], silent: _Consent | None) -> _Consent:
    """Return the decision; ``silent`` is the one for a category about which a silent event says nothing."""
    forms = []
    for category in categories:
        answer, form, is_named = statements.answer(category)
        by = "" if form == PLAIN else f", by {form}"
        if answer is False:
            return _Consent(False, f"consent to {category} was denied{by}", form, is_denied=True)
        if answer is None and silent is not None and not is_named:
            if not silent.granted:
                return silent
            form = silent.form
        elif answer is None and (is_named or not statements.holds_something):
            return _Consent(False, f"consent to {category} is not understood{by}", form, is_unreadable=True)
        elif answer is None:
            return _Consent(False, f"consent to {category} is not stated", form)
        forms.append(form)
    if silent is not None and forms.count(silent.form) == len(forms):
        return silent
    form = next((used_form for used_form in forms if used_form != PLAIN), PLAIN)
    return _granted(categories, form)


@lru_cache(maxsize=64)
def _granted(categories: tuple[str, ...], form: str) -> _Consent:
    by = "" if form == PLAIN else f", by {form}"
    return _Consent(True, f"consent to {' and '.join(categories)} was granted{by}", form)


_BY_DEFAULT = {
    "allow": _Consent(True, "no consent information, and the source allows such events", _NONE),
    "drop": _Consent(False, "no consent information, and the source drops such events", _NONE),
}
_NOT_REQUIRED = _Consent(True, "the integration requires no consent", _NONE)

_STATEMENT, _TENTATIVE, _DENIAL, _GPC = "statement", "tentative", "denial", "gpc"
_GPC_NAMES = "gpc secGpc sec_gpc Sec-GPC globalPrivacyControl global_privacy_control"
_NAMES = """
consentManagement consent_management consentState consent_state consentMode consent_mode googleConsentMode
google_consent_mode customerPrivacy customer_privacy tcf tcData tcString tc_string gcs gcd x-ga-gcs x-ga-gcd
OnetrustActiveGroups OptanonActiveGroups OptanonConsent usPrivacy us_privacy uspString Consent
CookieConsent cookieConsent cookie_consent advertisingConsent advertising_consent adConsent ad_consent adsConsent
ads_consent ad_storage adStorage ad_user_data adUserData ad_personalization adPersonalization gpp gppString gpp_string
"""
_REFUSALS = """
doNotSell do_not_sell doNotSellOrShare do_not_sell_or_share ccpaOptOut ccpa_opt_out saleOptOut sale_opt_out
"""
# The cookies of consent tools, among the cookies that a server passes on.
_COOKIES = frozenset(["CookieConsent", "OptanonConsent", "cookieyes-consent", "euconsent-v2", "usprivacy"])
_LONGEST_COOKIES = 16_384
_GPC_PLACES = frozenset(_GPC_NAMES.split())
# Where statements are in the context and in the properties, in addition to ``context.consent``.
_REFUSAL_PLACES, _COOKIE_PLACES = frozenset(_REFUSALS.split()), frozenset(("cookies", "cookie"))
_PLACES = _GPC_PLACES.union(_NAMES.split(), _REFUSAL_PLACES, _COOKIE_PLACES)
_PLACES_IN_PROPERTIES = (_PLACES | {"consent"}) - _COOKIE_PLACES


def _other_statements(event: Mapping[str, Any], context: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the statements outside ``context.consent``, each with how far it counts."""
    statements: list[tuple[str, Any]] = []
    if not _PLACES.isdisjoint(context):
        statements += [
            _in_context(key, context[key])
            for key in context
            if key in _PLACES and context[key] and key not in _COOKIE_PLACES
        ]
        statements += [
            (_STATEMENT, {name: value})
            for key in _COOKIE_PLACES
            for name, value in _cookies(context.get(key))
            if name in _COOKIES and value
        ]
    properties = event.get("properties")
    if type(properties) is dict and not _PLACES_IN_PROPERTIES.isdisjoint(properties):
        statements += [
            _in_properties(key, properties[key])
            for key in properties
            if key in _PLACES_IN_PROPERTIES and properties[key] not in (None, "")
        ]
    if event.get("consent") not in (None, "", {}, []):
        statements.append((_STATEMENT, event["consent"]))
    return statements


def _in_context(key: str, value: Any) -> tuple[str, Any]:
    if key in _GPC_PLACES:
        return _GPC, value
    return _DENIAL if key in _REFUSAL_PLACES else _STATEMENT, {key: value}


def _cookies(value: Any) -> Iterable[tuple[str, Any]]:
    # All cookies of a name, also of a header that is too long: a refusal in any of them counts.
    if type(value) is dict:
        return value.items()
    if type(value) is not str:
        return ()
    pairs = (part.partition("=") for part in value[:_LONGEST_COOKIES].split(";"))
    return ((name.strip(), text.strip()) for name, _, text in pairs)


def _in_properties(key: str, value: Any) -> tuple[str, Any]:
    if key in _GPC_PLACES:
        return _GPC, value
    if key in _REFUSAL_PLACES:
        return _DENIAL, {key: value}
    # A single word may be about a newsletter: only its refusal counts. An object counts if its form is known.
    if key in ("consent", "Consent"):
        return (_TENTATIVE if type(value) is dict else _DENIAL), value
    return _TENTATIVE, {key: value}
