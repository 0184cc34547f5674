"""Countries and states, by code and by name."""

import pytest

from worker.pinterest.user_data.countries import country_code, state_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("de", "de"),
        ("DEU", "de"),
        ("Germany", "de"),
        ("deutschland", "de"),
        ("ÖSTERREICH", "at"),
        ("osterreich", "at"),
        ("U.S.A.", "us"),
        ("United States of America", "us"),
        ("Korea, Republic of", "kr"),
        ("Korea (the Republic of)", "kr"),
        ("Korea, Democratic People's Republic of", "kp"),
        ("Russian Federation", "ru"),
        ("Iran, Islamic Republic of", "ir"),
        ("Tanzania, United Republic of", "tz"),
        ("Congo (the Democratic Republic of the)", "cd"),
        ("Netherlands (Kingdom of the)", "nl"),
        ("Taiwan, Province of China", "tw"),
        ("Moldova, Republic of", "md"),
        ("Virgin Islands (U.S.)", "vi"),
        ("Lao People\u2019s Democratic Republic", "la"),
        ("Republic of", None),
        ("South Korea", "kr"),
        ("The Gambia", "gm"),
        ("日本", "jp"),
        ("XX", None),
        ("", None),
        ("Georgia", "ge"),
    ],
)
def test_a_country_is_found(text: str, code: str | None) -> None:
    assert country_code(text) == code


def test_every_country_is_listed_once() -> None:
    codes = {
        country_code(f"{a}{b}") for a in "abcdefghijklmnopqrstuvwxyz" for b in "abcdefghijklmnopqrstuvwxyz"
    }
    # ISO 3166-1 has 249, and the European Union's statistics use XK for Kosovo; UK is Britain's other code.
    assert len(codes - {None}) == 250


@pytest.mark.parametrize(
    ("text", "country", "code"),
    [
        ("TX", None, "tx"),
        ("Texas", None, "tx"),
        ("texas", "us", "tx"),
        ("Texas", "de", None),
        ("Bayern", "de", "by"),
        ("Pará", None, "pa"),
        ("Ontario", "ca", "on"),
        ("CA-ON", None, "on"),
        ("Washington, D.C.", None, "dc"),
        ("D.C.", None, "dc"),
        ("N.Y.", "us", "ny"),
        ("D. C.", "us", "dc"),
        ("Ontario", "fr", None),  # a name that only another country has
        ("Nowhere", None, None),
        ("NSW", "au", None),  # not two letters
    ],
)
def test_a_state_is_found_where_it_is_unambiguous(text: str, country: str | None, code: str | None) -> None:
    assert state_code(text, country) == code
