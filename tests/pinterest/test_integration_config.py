"""Which configurations of an integration are refused, and for which field."""

from typing import Any

import pytest

from worker.pinterest.integration_config import load_config
from worker.pinterest.mapping.call import ConfigError, Options

GOOD = {"ad_account_id": "1234567890", "access_token": "your_access_token"}
FULL = GOOD | {
    "rate_limit_rps": 0.5,
    "rate_limit_burst": 10,
    "field_mapping": "pinterest",
    "test_mode": True,
    "token_expires_at": "2030-01-01T00:00:00Z",
    "event_overrides": {"Quote": "Own_Event"},
    "advertiser_events": ["Own_Event"],
    "default_country": "de",
    "truncate_ip": True,
    "limited_data_processing": True,
    "bot_filter": True,
    "clean_free_text": False,
    "send_user_id": True,
    "dedupe_by_business_id": False,
}


def test_the_documented_configuration_is_sufficient() -> None:
    options = Options.from_config(GOOD, ["advertising"])
    assert options == Options(consent_categories=("advertising",))
    assert options.field_mapping == "signal"


def test_everything_is_read() -> None:
    options = Options.from_config(FULL, ["advertising", "advertising", "analytics"])
    assert options.consent_categories == ("advertising", "analytics")
    assert options.default_country == "DE"
    assert options.overrides["quote"][0].names == ("Own_Event",)
    assert (options.truncate_ip, options.limited_data_processing, options.bot_filter) == (True, True, True)
    assert (options.clean_free_text, options.send_user_id, options.field_mapping) == (
        False,
        True,
        "pinterest",
    )


def test_null_means_absent() -> None:
    assert Options.from_config(GOOD | dict.fromkeys(set(FULL) - set(GOOD)), []) == Options()


def test_secrets_remain_unchanged() -> None:
    token = "pina_" + "A" * 200
    assert load_config(GOOD | {"access_token": token})["access_token"] == token


WRONG: list[tuple[Any, str, str]] = [
    ([], "config", "must be an object."),
    ({"access_token": "t"}, "ad_account_id", "is missing."),
    ({"ad_account_id": "1"}, "access_token", "is missing."),
    (GOOD | {"ad_account_id": None}, "ad_account_id", "is missing."),
    *(
        (GOOD | {"ad_account_id": value}, "ad_account_id",
         "must be a text of 1 to 18 digits, as Pinterest Ads Manager shows it.")
        for value in ("", "12a", "1" * 19, 1234567890, "١٢٣", "1\n", {})
    ),
    *(
        (GOOD | {"access_token": value}, "access_token",
         "must be Pinterest's access token: printable characters without spaces.")
        for value in ("", "a b", "a\n", "ü", 7, "x" * 4097)
    ),
    *(
        (GOOD | {"rate_limit_rps": value}, "rate_limit_rps", "must be a number above 0 and at most 100000.")
        for value in (0, -1, "100", True, float("nan"), float("inf"), 10**400)
    ),
    (GOOD | {"rate_limit_burst": 0.5}, "rate_limit_burst", "must be a whole number of at least 1."),
    (GOOD | {"rate_limit_burst": 0}, "rate_limit_burst", "must be a number above 0 and at most 100000."),
    (GOOD | {"field_mapping": "both"}, "field_mapping", "must be signal or pinterest."),
    (GOOD | {"field_mapping": ["signal"]}, "field_mapping", "must be signal or pinterest."),
    (GOOD | {"test_mode": "yes"}, "test_mode", "must be true or false."),
    (GOOD | {"token_expires_at": "soon"}, "token_expires_at", "must be a time in ISO 8601, like 2030-01-29T14:53:20Z."),
    (GOOD | {"default_country": "Germany"}, "default_country", "must be a country's two letters (ISO 3166), like DE."),
    (GOOD | {"default_country": "uk"}, "default_country", "must be a country's two letters (ISO 3166), like DE."),
    (GOOD | {"event_overrides": {"A": "nothing"}}, "event_overrides",
     "for 'A' names 'nothing', which is neither Pinterest's event name nor yours."),
    (GOOD | {"advertiser_events": ["a b"]}, "advertiser_events",
     "has 'a b': a name is 1 to 100 letters, digits, hyphens and underscores."),
    (GOOD | {"acess_token": "t"}, "acess_token", "is not a setting of an integration."),
]  # fmt: skip


@pytest.mark.parametrize(("config", "field", "message"), WRONG)
def test_a_wrong_configuration_is_refused_naming_the_field(config: Any, field: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Options.from_config(config, ["advertising"])
    assert (error.value.field, error.value.message) == (field, message)
    assert str(error.value) == f"{field} {message}"


def test_the_error_has_all_invalid_fields() -> None:
    wrong = {"ad_account_id": "x", "test_mode": 1, "event_overrides": {"Newsletter": "nonsense"}}
    with pytest.raises(ConfigError) as error:
        Options.from_config(GOOD | wrong, ["advertising"])
    assert list(error.value.errors) == list(wrong)
    assert error.value.field == "ad_account_id"


def test_an_unknown_consent_category_is_refused() -> None:
    with pytest.raises(ConfigError, match="consent_categories has 'adverts', which is not one of analytics"):
        Options.from_config(GOOD, ["adverts"])


def test_an_error_never_has_the_token() -> None:
    with pytest.raises(ConfigError) as error:
        Options.from_config(GOOD | {"access_token": "secret token"}, [])
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "sends"),
    [
        (Options(), False),
        (Options(field_mapping="pinterest"), True),
        (Options(send_user_id=True), True),
        (Options(field_mapping="pinterest", send_user_id=False), False),
    ],
)
def test_the_user_id_is_sent_if_the_mapping_or_the_option_says_so(options: Options, sends: bool) -> None:
    assert options.sends_user_id is sends
