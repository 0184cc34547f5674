"""One country of a person serves phone numbers, states and free text."""

from typing import Any

import pytest

from tests.pinterest.conftest import browser, payload, sha, track
from worker.pinterest.mapping.call import Options
from worker.pinterest.user_data.traits import person_regions
from worker.pinterest.user_data.visitor import Visitor, apply_identify

GERMAN = sha("4915112345678")


@pytest.mark.parametrize(
    ("stated", "remembered", "default", "currency", "locale", "regions"),
    [
        (["Germany"], "at", "CH", "GBP", "en-US", ["de", "at", "ch", "gb", "us"]),
        ([None, "DEU"], None, None, None, None, ["de"]),
        ([], "at", None, None, None, ["at"]),
        ([], None, "de", "JPY", None, ["de", "jp"]),
        ([], None, None, " sek ", "sv", ["se"]),
        ([], None, None, "EUR", "de_AT", ["at"]),
        ([], None, None, None, "zh-Hant-TW", ["tw"]),
        ([], None, None, None, "pt_BR.UTF-8", ["br"]),
        ([7, "", "Atlantis", "x" * 999], None, None, "XYZ", "en-ZZ", []),
        ([], None, None, 978, ["de-DE"], []),
        ([], None, None, None, "d" * 999, []),
    ],
)
def test_the_most_certain_country_comes_first(
    stated: list[Any], remembered: Any, default: Any, currency: Any, locale: Any, regions: list[str]
) -> None:
    found = person_regions(stated, remembered, default, {"currency": currency}, {"locale": locale})
    assert list(found) == regions


@pytest.mark.parametrize(
    ("event", "options", "visitor_country"),
    [
        (track(traits={"phone": "0151 12345678", "country": "Germany"}), Options(default_country="US"), None),
        (track(context={"traits": {"country": "DE"}}, traits={"phone": "0151 12345678"}), Options(), "us"),
        (track(traits={"phone": "0151 12345678"}), Options(default_country="US"), "de"),
        (track(traits={"phone": "0151 12345678"}), Options(default_country="DE"), None),
        (track(traits={"phone": "0151 12345678"}, context={"locale": "de-DE"}), Options(), None),
        (track(properties={"phone": "0151 12345678"}, context={"locale": "de_DE"}), Options(), None),
    ],
)
def test_a_national_phone_number_is_read_in_the_persons_country(
    event: dict[str, Any], options: Options, visitor_country: str | None
) -> None:
    data = payload(event | {"event": "Lead"}, options=options, visitor=Visitor(country=visitor_country))
    assert data["user_data"]["ph"] == [GERMAN]


def test_a_country_of_an_earlier_identify_serves_a_later_one() -> None:
    first = apply_identify(
        Visitor.EMPTY, {"traits": {"address": {"country": "Deutschland"}}}, browser(), "US"
    )
    later = apply_identify(first, {"traits": {"phone": "0151 12345678"}}, browser(), "US")
    assert (later.country, later.traits["ph"]) == ("de", [GERMAN])


def test_another_persons_country_is_forgotten() -> None:
    jane = {"type": "identify", "traits": {"email": "jane@example.com", "country": "DE"}}
    john = {"type": "identify", "traits": {"email": "john@example.com"}}
    known = apply_identify(Visitor.EMPTY, jane, browser(), None)
    assert apply_identify(known, john, browser(), None).country is None


@pytest.mark.parametrize(
    ("traits", "options", "code"),
    [
        ({"state": "Western Australia", "country": "AU"}, Options(), "wa"),
        ({"state": "Bavaria"}, Options(default_country="DE"), "by"),
        ({"state": "California"}, Options(default_country="DE"), "ca"),
        ({"state": "California"}, Options(), "ca"),
    ],
)
def test_a_state_is_read_in_the_persons_country(traits: Any, options: Options, code: str) -> None:
    data = payload(track("Lead", traits=traits), options=options)["user_data"]
    assert data.get("st") == [sha(code)]
