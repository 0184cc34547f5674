"""Consent: granted, denied, not stated or not understood."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.event.consent.consent import check_consent

GRANTED = "consent to advertising was granted"
DENIED = "consent to advertising was denied"
SILENT = "consent to advertising is not stated"
UNKNOWN = "consent to advertising is not understood"
DROPPED = "no consent information, and the source drops such events"


def advertising(stated: Any) -> bool:
    """Return whether an event that states this may go to an integration for advertising."""
    # An unclear statement is a no, whatever the source does with events that say nothing.
    allowed = check_consent({"context": {"consent": stated}}, ["advertising"], "allow")
    dropped = check_consent({"context": {"consent": stated}}, ["advertising"], "drop")
    assert allowed == dropped
    return allowed.granted


@pytest.mark.parametrize(
    ("stated", "granted", "reason"),
    [
        # Flat, with the words that tools use for yes and no.
        ({"advertising": True}, True, GRANTED),
        ({"advertising": False}, False, DENIED),
        ({"Advertising": "granted"}, True, GRANTED),
        ({"advertising": "denied"}, False, DENIED),
        ({"advertising": 1}, True, GRANTED),
        ({"advertising": "maybe", "analytics": True}, False, UNKNOWN),
        # Marketing and advertising count as one where an event knows only the other.
        ({"marketing": True}, True, GRANTED),
        ({"marketing": False}, False, DENIED),
        ({"marketing": True, "advertising": False}, False, DENIED),
        ({"marketing": False, "advertising": True}, True, GRANTED),
        # Nested: the shop's own categories next to the canonical set.
        ({"categories": {"advertising": True}, "canonical": {"marketing": False}}, True, GRANTED),
        ({"categories": {"C0004": True}, "canonical": {"marketing": True}}, True, f"{GRANTED}, by OneTrust"),
        ({"categories": {"C0004": False}, "canonical": {"marketing": True}}, False, f"{DENIED}, by OneTrust"),
        ({"categories": {"advertising": True}, "canonical": {"advertising": False}}, False, DENIED),
        ({"categories": ["analytics", "advertising"]}, True, GRANTED),
        ({"categoryPreferences": {"Advertising": True}}, True, GRANTED),
        # Two spellings of a category that contradict each other.
        ({"advertising": True, "Advertising": False}, False, DENIED),
        # Speaking of others only is not granting this one.
        ({"analytics": True}, False, SILENT),
        ({"analytics": True, "granted": True}, False, SILENT),
        ({"advertising": None}, False, SILENT),
        ({"categories": ["analytics"]}, False, SILENT),
        # What is not understood is no consent.
        ({"version": 2}, False, UNKNOWN),
        ({"categories": {}}, False, UNKNOWN),
        ({"advertising": {"email": True}}, False, UNKNOWN),
        # Channels and newsletters are not advertising.
        ({"email": {"marketing": True}}, False, UNKNOWN),
        ({"email": {"marketing": False}, "marketing": True}, False, DENIED),
        # Saying nothing is left to the default.
        (None, False, DROPPED),
        ({}, False, DROPPED),
        ([], False, DROPPED),
        (" ", False, DROPPED),
    ],
)
def test_consent_is_decided(stated: Any, granted: bool, reason: str) -> None:
    decision = check_consent({"type": "page", "context": {"consent": stated}}, ["advertising"], "drop")
    assert (decision.granted, decision.reason) == (granted, reason)


def test_all_categories_have_to_be_granted() -> None:
    event = {"context": {"consent": {"advertising": True, "analytics": False}}}
    decision = check_consent(event, ["advertising", "analytics"], "allow")
    assert (decision.granted, decision.reason) == (False, "consent to analytics was denied")


@pytest.mark.parametrize("event", [{}, {"context": None}, {"context": {}}, {"context": []}])
def test_an_event_without_information_gets_the_default(event: dict[str, Any]) -> None:
    assert not check_consent(event, ["advertising"], "drop").granted
    assert check_consent(event, ["advertising"], "allow").granted


def test_an_integration_without_categories_needs_no_consent() -> None:
    assert check_consent({"context": {"consent": {"advertising": False}}}, [], "drop").granted


YES = "true yes Y granted GRANTED allowed accepted accept_all opt_in opt-in on 1 ja Ja oui sí si sì sim ano áno tak "
YES += "igen kyllä jah jā taip iva ναι ΝΑΙ да da tá agreed ｙｅｓ"  # noqa: RUF001
NO = "false no N n denied rejected declined opt_out opt-out OPTOUT off 0 nein Nein non não nao nie nem ei nē nu nej "
NO += "nee níl όχι ΌΧΙ не ne le withdrawn revoked disabled refused"
UNCLEAR = [
    "maybe",
    "-1",
    "2",
    "pending",
    "unknown",
    "yes?",
    "not granted",
    "n/a",
    "✓",
    "null",
    "yesno",
    "1.5",
    "ok then",
]


@pytest.mark.parametrize("word", YES.split())
def test_a_yes_in_the_languages_of_the_eu_is_consent(word: str) -> None:
    assert advertising(word)
    assert advertising({"advertising": word})
    assert advertising({"marketing": {"status": f" {word} "}})


@pytest.mark.parametrize("word", [*NO.split(), *UNCLEAR])
def test_a_no_or_an_unclear_word_is_no_consent(word: str) -> None:
    assert not advertising(word)
    assert not advertising({"advertising": word})
    assert not advertising({"advertising": {"granted": word}})
    assert not advertising({"granted": word})


def test_an_unclear_word_is_a_problem_and_a_no_is_not() -> None:
    unreadable = [
        word
        for word in [*YES.split(), *NO.split(), *UNCLEAR]
        if check_consent({"context": {"consent": word}}, ["marketing"], "allow").is_unreadable
    ]
    assert unreadable == UNCLEAR


@pytest.mark.parametrize(
    ("stated", "granted"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0, False),
        (2, False),
        (-1, False),
        ({"granted": True}, True),
        ({"granted": False}, False),
        ({"allowed": "yes"}, True),
        ({"status": "denied"}, False),
        ({"value": True, "granted": False}, False),
        ({"advertising": {"granted": True, "at": "2026-01-01T00:00:00Z"}}, True),
        ({"advertising": {"status": "granted", "source": "banner"}}, True),
        ({"advertising": {"granted": True, "revoked": True}}, False),
        ({"advertising": {"value": "maybe"}}, False),
        ({"advertising": [True]}, False),
        ({"advertising": True, "status": "withdrawn"}, False),
        ({"optOut": True, "advertising": True}, False),
        ({"optOut": False}, False),
        ({"granted": ["marketing"], "denied": ["analytics"]}, True),
        ({"granted": ["analytics"], "denied": ["marketing"]}, False),
        ({"acceptedCategories": ["necessary"], "rejectedCategories": ["marketing"]}, False),
        ({"granted": {"marketing": True}}, True),
        ("necessary,analytics,marketing", True),
        ("necessary,analytics", False),
        (["necessary", "advertising"], True),
        (["newsletter"], False),
        ('{"marketing": true}', True),
        ('{"marketing": false}', False),
        ("{marketing", False),
        (["!marketing"], False),
        ({"!marketing": True}, False),
        ("analytics,marketing ✗", False),
    ],
)
def test_booleans_objects_lists_and_json_are_read(stated: Any, granted: bool) -> None:
    assert advertising(stated) is granted


_YES_NO = st.sampled_from(
    [True, False, 1, 0, "granted", "denied", "yes", "nein", "maybe", "", None, 7, [], {}]
)
_NAMES = """
advertising marketing analytics ad_storage ad_user_data C0004 C0002 statistics granted status value version
categories canonical consent purposes email denied optOut gcs services pinterest
"""
_KEYS = st.sampled_from(_NAMES.split())
_STATED = st.recursive(_YES_NO, lambda inner: st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12)


def _with_denials(stated: Any) -> Any:
    """Return a statement with every possible yes replaced by a no."""
    if isinstance(stated, dict):
        return {key: _with_denials(value) for key, value in stated.items()}
    return False if stated in (True, 1, "granted", "yes") and stated != "" else stated


@settings(max_examples=40)
@given(_STATED)
def test_without_a_yes_in_it_no_statement_is_consent(stated: Any) -> None:
    if stated not in (None, "", {}, []):
        assert not advertising(_with_denials(stated))


@settings(max_examples=40)
@given(st.dictionaries(_KEYS, _STATED, min_size=1))
def test_a_further_refusal_never_widens_consent(stated: dict[str, Any]) -> None:
    for refusal in ({"ad_storage": "denied"}, {"gpc": True}, {"Advertising": "no", "Marketing": "no"}):
        assert not advertising(stated | refusal)


@settings(max_examples=40)
@given(_STATED)
def test_more_required_categories_never_widen_consent(stated: Any) -> None:
    event = {"context": {"consent": stated}}
    both = check_consent(event, ["advertising", "analytics"], "allow").granted
    assert both <= check_consent(event, ["advertising"], "allow").granted


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_json_is_decided_without_an_error(stated: Any) -> None:
    for event in (
        {"context": {"consent": stated}},
        {"consent": stated},
        {"properties": {"consent": stated, "gpc": stated}},
    ):
        assert check_consent(event, ["marketing"], "drop").reason


@pytest.mark.parametrize(
    ("event", "granted"),
    [
        ({"consent": {"advertising": False}}, False),
        ({"context": {"consentManagement": {"deniedConsentIds": ["C0004"]}}}, False),
        ({"context": {"consentManagement": {"allowedConsentIds": [], "deniedConsentIds": []}}}, False),
        ({"context": {"consentState": {"ad_storage": "denied"}}}, False),
        ({"context": {"gcs": "G100"}}, False),
        ({"context": {"gpc": True}}, False),
        ({"context": {"gpc": "1", "consent": {"advertising": True}}}, False),
        ({"context": {"gpc": "?", "consent": {"advertising": True}}}, False),
        ({"context": {"gpc": False, "consent": {"advertising": True}}}, True),
        ({"context": {"gpc": 0}}, True),
        ({"properties": {"consent": {"ad_storage": "denied"}}}, False),
        ({"properties": {"consent": "denied"}}, False),
        ({"properties": {"x-ga-gcs": "G100"}}, False),
        ({"context": {"consent": {"advertising": True}}, "properties": {"gcs": "G101"}}, False),
        ({"context": {"ad_storage": "granted", "ad_user_data": "denied"}}, False),
        ({"properties": {"ad_storage": "denied"}}, False),
        ({"context": {"adConsent": "denied"}}, False),
        ({"context": {"gppString": "DBABLA~BVQqAAAAAgA.QA"}}, False),
        # Cookies of consent tools that a server passes on
        ({"context": {"CookieConsent": "{stamp:'x',necessary:true,marketing:false}"}}, False),
        ({"context": {"cookies": {"CookieConsent": "{necessary:true%2Cmarketing:false}"}}}, False),
        ({"context": {"cookies": {"CookieConsent": "{necessary:true%2Cmarketing:true}", "other": 7}}}, True),
        (
            {"context": {"cookie": "a=b; OptanonConsent=isGpcEnabled=0&groups=C0001%3A1%2CC0004%3A0; c"}},
            False,
        ),
        ({"context": {"cookies": {"_epik": "x"}}}, True),
        # A refused sale refuses advertising; that it is not refused grants nothing.
        ({"context": {"do_not_sell": True}}, False),
        ({"properties": {"doNotSell": "true"}}, False),
        ({"properties": {"ccpa_opt_out": 1}}, False),
        ({"properties": {"ccpa_opt_out": False}}, True),
        ({"context": {"do_not_sell": False, "consent": {"analytics": True}}}, False),
        # Of a newsletter, and nothing else.
        ({"properties": {"consent": {"newsletter": True}}}, True),
        ({"properties": {"consent": "by e-mail"}}, True),
    ],
)
def test_other_places_count_in_addition_to_the_context(event: dict[str, Any], granted: bool) -> None:
    assert check_consent(event, ["advertising"], "allow").granted is granted


def test_a_word_in_the_properties_is_no_consent() -> None:
    assert not check_consent({"properties": {"consent": "yes"}}, ["advertising"], "drop").granted
    assert check_consent(
        {"properties": {"consentState": {"ad_storage": "granted"}}}, ["advertising"], "drop"
    ).granted


def test_global_privacy_control_refuses_advertising_and_nothing_else() -> None:
    event = {"context": {"consent": {"advertising": True, "marketing": True, "analytics": True}}}
    assert check_consent(event, ["analytics"], "drop", gpc=True).granted
    for category in ("advertising", "marketing"):
        decision = check_consent(event, [category], "drop", gpc=True)
        assert decision.reason == f"consent to {category} was denied, by Global Privacy Control"
    assert check_consent({}, ["analytics"], "allow", gpc=True).granted
    assert not check_consent({}, ["analytics"], "drop", gpc=True).granted


OWN_GROUPS = {
    "C0007": "advertising",
    "Ads-1": "marketing",
    "3": "advertising",
    "stats": "analytics",
    "C0004": "analytics",
}


@pytest.mark.parametrize(
    ("stated", "granted"),
    [
        (",C0001,C0007,", True),
        (",C0001,C0002,", False),
        ("C0001:1,C0007:1", True),
        ("C0001:1,C0007:0", False),
        ("1:1,3:1", True),
        ("1:1,3:0,4:1", False),
        ("groups=C0001%3A1%2CC0007%3A1", True),
        ({"C0007": True}, True),
        ({"c0007": 0}, False),
        ({"Ads-1": "granted"}, True),
        ({"ads-1": "denied", "C0007": True}, False),
        ({"categories": {"Ads-1": True}}, True),
        ({"allowedConsentIds": ["Ads-1"]}, True),
        ({"deniedConsentIds": ["C0007"]}, False),
        (["Ads-1"], True),
        # The shop's table replaces the tool's own meaning.
        ({"C0004": True}, False),
        ({"stats": True}, False),
        ({"advertising": True}, True),
    ],
)
def test_a_sources_own_names_of_groups_mean_their_categories(stated: Any, granted: bool) -> None:
    event = {"context": {"consent": stated}}
    assert check_consent(event, ["advertising"], "allow", groups=OWN_GROUPS).granted is granted
    assert not check_consent({"context": {"consent": {"Ads-1": True}}}, ["advertising"], "allow").granted
