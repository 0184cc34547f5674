"""The forms of consent tools, as their vendors document them."""

from typing import Any

import pytest

from tests.event.consent.test_tcf import tc_string
from worker.event.consent.consent import _Consent, check_consent

ALL_PURPOSES = range(1, 12)


def decide(stated: Any, category: str = "advertising", **more: Any) -> _Consent:
    return check_consent({"context": {"consent": stated}}, [category], "allow", **more)


@pytest.mark.parametrize(
    ("stated", "granted"),
    [
        ({"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "granted"}, True),
        ({"ad_storage": "granted", "analytics_storage": "denied"}, True),
        ({"ad_storage": "granted", "ad_user_data": "denied", "ad_personalization": "granted"}, False),
        ({"ad_storage": "granted", "ad_personalization": "denied"}, False),
        ({"ad_storage": "denied", "analytics_storage": "granted"}, False),
        ({"analytics_storage": "granted"}, False),
        ({"adStorage": "granted", "adUserData": "granted"}, True),
        ({"default": {"ad_storage": "denied"}, "update": {"ad_storage": "granted"}}, True),
        ({"default": {"ad_storage": "granted"}, "update": {"ad_storage": "denied"}}, False),
        ({"ad_storage": {"default": False, "update": True}}, True),
        ({"ad_storage": {"default": True}}, True),
        # Google Ads API.
        ({"adUserData": "GRANTED", "adPersonalization": "DENIED"}, False),
        ({"ad_user_data": "UNSPECIFIED", "ad_storage": "granted"}, False),
        ("G111", True),
        ("G110", True),
        ("G101", False),
        ("G100", False),
        ("G1--", False),
        ({"gcs": "G111"}, True),
        ({"gcs": "G111", "ad_user_data": "denied"}, False),
        ({"gcs": "G2"}, False),
        ({"gcd": "11t1t1t1t5"}, True),
        ({"gcd": "13r3v3r3r5l1"}, True),
        ({"gcd": "11p1p1p1p5"}, False),
        ({"gcd": "11t1t1p1t5"}, False),
        ({"gcd": "13l3l3l3l1"}, False),
        ({"gcd": "11u1t1t1t5"}, False),
    ],
)
def test_google_consent_mode(stated: Any, granted: bool) -> None:
    decision = decide(stated)
    assert decision.granted is granted
    assert "Google consent mode" in decision.reason or not granted


@pytest.mark.parametrize(
    ("stated", "granted"),
    [
        (",C0001,C0002,C0004,", True),
        (",C0001,C0002,", False),
        ("C0001:1,C0002:0,C0003:0,C0004:1", True),
        ("C0001:1,C0002:1,C0003:1,C0004:0", False),
        ("1:1,2:0,3:0,4:1", True),
        ("1:1,2:1,3:1,4:0", False),
        ({"C0001": 1, "C0004": 1}, True),
        ({"C0001": 1, "C0004": 0}, False),
        ({"C0001": True, "C0002": True}, False),
        ({"OnetrustActiveGroups": ",C0001,C0004,"}, True),
        ({"OptanonActiveGroups": ",C0001,"}, False),
        ({"groups": "C0001:1,C0004:1"}, True),
        ({"groups": {"C0001": 1, "C0004": 0}}, False),
        ("isGpcEnabled=0&datestamp=x&version=202301.1.0&groups=C0001%3A1%2CC0004%3A1", True),
        ("isGpcEnabled=1&datestamp=x&version=202301.1.0&groups=C0001%3A1%2CC0004%3A1", False),
        ("isGpcEnabled=0&groups=C0001%3A1%2CC0004%3A0&AwaitingReconsent=false", False),
        (["C0001", "C0004"], True),
        (["C0001"], False),
    ],
)
def test_onetrust(stated: Any, granted: bool) -> None:
    assert decide(stated).granted is granted


def test_onetrust_groups_of_a_source_have_their_own_meaning() -> None:
    groups = {"ADS1": "advertising", "C0004": "functional", "S1": "analytics"}
    assert decide({"ADS1": True}, groups=groups).granted
    assert not decide({"C0004": True}, groups=groups).granted
    assert decide(",S1,ADS1,", groups=groups).reason == "consent to advertising was granted, by OneTrust"
    assert not decide(",S1,", groups=groups).granted
    # OneTrust's own group for advertising means something else in this shop.
    assert not decide(",S1,C0004,", groups={"ADS1": "advertising"}).granted
    assert decide(",S1,C0004,", groups={"S1": "analytics"}).granted


_COOKIEBOT = (
    "{stamp:'-1',necessary:true,preferences:false,statistics:false,marketing:%s,method:'explicit',ver:1}"
)


@pytest.mark.parametrize(
    ("stated", "granted"),
    [
        ({"necessary": True, "preferences": True, "statistics": True, "marketing": True}, True),
        ({"necessary": True, "preferences": True, "statistics": True, "marketing": False}, False),
        ({"consented": True, "declined": False, "hasResponse": True, "marketing": False}, False),
        ({"consented": True, "declined": False, "hasResponse": True, "marketing": True}, True),
        ({"consented": False, "declined": True, "hasResponse": True, "marketing": False}, False),
        ({"consent": {"marketing": True, "statistics": False}, "declined": True}, False),
        ({"consent": {"marketing": True, "statistics": False}}, True),
        ({"Cookiebot": {"consent": {"marketing": True}}}, True),
        (_COOKIEBOT % "true", True),
        (_COOKIEBOT % "false", False),
        # CookieYes: its cookie, and getCkyConsent().
        (
            "consentid:abc,consent:yes,action:yes,necessary:yes,functional:no,analytics:no,advertisement:yes",
            True,
        ),
        (
            "consentid:abc,consent:yes,action:yes,necessary:yes,functional:yes,analytics:yes,advertisement:no",
            False,
        ),
        (
            "consentid:abc,consent:no,action:yes,necessary:yes,functional:no,analytics:no,advertisement:no",
            False,
        ),
        ({"activeLaw": "gdpr", "categories": {"necessary": True, "advertisement": True}}, True),
        ({"activeLaw": "gdpr", "categories": {"necessary": True, "advertisement": False}}, False),
    ],
)
def test_cookiebot_and_cookieyes(stated: Any, granted: bool) -> None:
    assert decide(stated).granted is granted


@pytest.mark.parametrize(
    ("stated", "granted"),
    [
        # Segment
        ({"categoryPreferences": {"Advertising": True, "Analytics": False}}, True),
        ({"categoryPreferences": {"Advertising": False, "Analytics": True}}, False),
        ({"categoryPreferences": {"C0001": True, "C0004": True}}, True),
        ({"categoryPreferences": {"C0001": True, "C0004": False}}, False),
        ({"categoryPreferences": {}}, False),
        # RudderStack
        ({"allowedConsentIds": ["C0001", "C0004"], "deniedConsentIds": ["C0002"]}, True),
        ({"allowedConsentIds": ["C0001"], "deniedConsentIds": ["C0004"], "provider": "oneTrust"}, False),
        ({"allowedConsentIds": ["advertising"], "provider": "custom", "resolutionStrategy": "or"}, True),
        ({"allowedConsentIds": ["analytics"], "provider": "custom", "resolutionStrategy": "or"}, False),
        ({"consentManagement": {"deniedConsentIds": ["marketing"]}}, False),
        ({"allowedConsentIds": ["12345"], "deniedConsentIds": []}, False),
        # Shopify
        ({"marketingAllowed": True, "saleOfDataAllowed": True, "analyticsProcessingAllowed": True}, True),
        ({"marketingAllowed": True, "saleOfDataAllowed": False}, False),
        ({"marketingAllowed": False, "analyticsProcessingAllowed": True}, False),
        ({"marketing": "yes", "analytics": "no", "preferences": "no", "sale_of_data": ""}, True),
        ({"marketing": "", "analytics": "", "preferences": "", "sale_of_data": ""}, False),
        ({"marketing": "yes", "analytics": "yes", "preferences": "yes", "sale_of_data": "no"}, False),
        # Usercentrics
        ([{"name": "Pinterest Tag", "consent": {"status": True}}], True),
        ([{"name": "Pinterest Tag", "consent": {"status": False}}], False),
        (
            {
                "services": [
                    {"categorySlug": "marketing", "status": True},
                    {"name": "Pinterest", "status": False},
                ]
            },
            False,
        ),
        ({"categories": [{"slug": "marketing", "state": "accepted"}]}, True),
        ({"Google Analytics": True, "Pinterest": True}, True),
        # Didomi
        (
            {
                "purposes": {
                    "enabled": ["cookies", "create_ads_profile"],
                    "disabled": ["measure_ad_performance"],
                }
            },
            False,
        ),
        (
            {
                "purposes": {
                    "consent": {
                        "enabled": [
                            *("cookies", "create_ads_profile", "select_personalized_ads"),
                            "measure_ad_performance",
                        ],
                        "disabled": [],
                    }
                }
            },
            True,
        ),
        (
            {
                "purposes": {"enabled": ["cookies", "create_ads_profile", "select_personalized_ads"]},
                "vendors": {"enabled": ["google"], "disabled": ["c:pinterest"]},
            },
            False,
        ),
        # mParticle
        ({"gdpr": {"advertising": {"consented": True}}}, True),
        (
            {
                "gdpr": {"advertising": {"consented": True}},
                "ccpa": {"data_sale_opt_out": {"consented": False}},
            },
            True,
        ),
        (
            {
                "gdpr": {"advertising": {"consented": True}},
                "ccpa": {"data_sale_opt_out": {"consented": True}},
            },
            False,
        ),
        ({"advertising": True, "email": {"opt_out": True}}, True),
        # Usercentrics, its third version
        ({"categories": {"marketing": {"state": "ALL_ACCEPTED"}}}, True),
        ({"categories": {"marketing": {"state": "ALL_DENIED"}}}, False),
        ({"categories": {"marketing": {"state": "SOME_ACCEPTED"}}}, False),
        # WordPress and Civic
        ({"cmplz_marketing": "allow", "cmplz_statistics": "deny"}, True),
        ({"cmplz_marketing": "deny", "cmplz_statistics": "allow"}, False),
        ({"wp_consent_marketing": "allow"}, True),
        ({"optionalCookies": {"marketing": "accepted"}}, True),
        ({"optionalCookies": {"analytics": "accepted", "marketing": "revoked"}}, False),
        # The US privacy string refuses a sale, and grants nothing.
        ({"uspString": "1YYN", "advertising": True}, False),
        ({"uspString": "1YNN", "advertising": True}, True),
        ({"uspString": "1YNN"}, False),
        # A list of objects
        ([{"type": "marketing", "granted": True}, {"type": "analytics", "granted": False}], True),
        ([{"type": "marketing", "granted": "no"}], False),
        ({"type": "analytics", "granted": True}, False),
    ],
)
def test_segment_rudderstack_shopify_usercentrics_and_didomi(stated: Any, granted: bool) -> None:
    assert decide(stated).granted is granted


@pytest.mark.parametrize(
    ("stated", "granted"),
    [
        ({"tcString": tc_string(ALL_PURPOSES)}, True),
        ({"tcString": tc_string([1, 2, 3, 4])}, False),
        (tc_string(ALL_PURPOSES), True),
        (tc_string([]), False),
        ({"tcString": "not a TC string"}, False),
        ({"tcString": tc_string(ALL_PURPOSES), "advertising": False}, False),
        ({"tcData": {"purpose": {"consents": dict.fromkeys(map(str, ALL_PURPOSES), True)}}}, True),
        ({"tcData": {"purpose": {"consents": {"1": True, "2": True, "3": False, "4": False}}}}, False),
        ({"purpose": {"consents": {}, "legitimateInterests": dict.fromkeys("123479", True)}}, False),
        ({"tcf": {"purposes": dict.fromkeys("123479", True)}}, True),
        ({"tcf": {"purposes": dict.fromkeys("12347", True) | {"4": False}}}, False),
        ({"purposeConsents": [1, 3, 4, 7]}, True),
        ({"purposes": [1, 2]}, False),
        ({"IABTCF_PurposeConsents": "1111111111"}, True),
        ({"IABTCF_PurposeConsents": "1100000000"}, False),
        ({"gppString": "DBABMA~" + tc_string(ALL_PURPOSES)}, True),
        ({"gppString": "DBACNYA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN"}, False),
        ({"gppString": "DBABLA~BVQqAAAAAgA.QA", "advertising": True}, False),
    ],
)
def test_the_transparency_and_consent_framework(stated: Any, granted: bool) -> None:
    assert decide(stated).granted is granted


def test_the_reason_names_the_form() -> None:
    said = {
        "G100": "Google consent mode",
        ",C0001:1,C0004:0": "OneTrust",
        tc_string([2]): "IAB TCF",
    }
    for stated, form in said.items():
        assert decide(stated).reason == f"consent to advertising was denied, by {form}"
    assert decide({"tcString": "?"}).reason == "consent to advertising is not understood, by IAB TCF"
    assert decide({"x": 1}).reason == "consent to advertising is not understood"
