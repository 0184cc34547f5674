"""What is removed from Pinterest's messages before they are stored and shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pinterest.client.client import _MAX_REASON_CHARACTERS, mask


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The useful part of the message remains.
        (
            "custom_data.contents[3].item_price is not a string",
            "custom_data.contents[3].item_price is not a string",
        ),
        ("'client_user_agent' is required; 129.99 USD", "'client_user_agent' is required; 129.99 USD"),
        # E-mail addresses in all spellings.
        ("'john.doe+x@example.com' is no hash", "'[e-mail]' is no hash"),
        ("em=jörg@exämple.de,ok", "em=[e-mail],ok"),
        ("mailto:a%2Bb%40example.com", "mailto:[e-mail]"),
        ("john\u200b@example.com and john＠example.com", "[e-mail] and [e-mail]"),  # noqa: RUF001
        # Phones and other long numbers.
        ("ph +1 (555) 123-4567 bad", "ph [number] bad"),
        ("0171/1234567", "[number]"),
        ("account 1234567890", "account [number]"),
        ("٠١٢٣٤٥٦٧٨٩", "[number]"),
        # Hashes, ids, tokens.
        ("836f82db99121b3481011f16b49dfa5fbc714a0d1b1b9f784a1ebbbf5b39577f is known", "[id] is known"),
        ("a1b2c3d4-e5f6-7890-abcd-ef1234567890", "[id]"),
        ("Authorization: Bearer abc.def was refused", "Authorization: [token] was refused"),
        ("token pina_AbC is expired", "token [token] is expired"),
        ('{"access_token": "your_access_token"}', '{"access_token": "[token]"}'),
        ("The access token provided is invalid", "The access token provided is invalid"),
        # IP addresses and URLs.
        ("from 203.0.113.50.", "from [ip]."),
        ("from 2001:db8::8a2e:370:7334", "from [ip]"),
        ("https://shop.test/a?name=Jane&x=1 is odd", "https://shop.test/a?[…] is odd"),
        ("'Mozilla/5.0 (X11; Linux)' is odd", "'[user agent]' is odd"),
        # One line of printable characters.
        ("a\x00b\r\n\tc\x1b[31m\ud800d\u202ee", "a b c [31m de"),
        ("", ""),
    ],
)
def test_masking_removes_personal_data_and_keeps_the_message(text: str, expected: str) -> None:
    assert mask(text) == expected


def test_a_long_text_is_cut_without_leaving_half_an_address() -> None:
    text = "836f82db99121b3481011f16b49dfa5fbc714a0d1b1b9f784a1ebbbf5b39577f " * 30 + "a" * 35
    half = f"{text} john.doe@example.com"

    assert len(mask("word " * 1000)) == _MAX_REASON_CHARACTERS
    assert half[:2000].endswith(" john.doe@examp")
    assert mask(half).endswith(f"[id] {'a' * 35} …")
    assert mask("x" * 5000) == "…"


@given(st.text(max_size=400))
def test_a_masked_text_is_short_and_printable_and_can_be_stored(text: str) -> None:
    masked = mask(text)

    assert len(masked) <= _MAX_REASON_CHARACTERS
    assert masked.isprintable()
    assert masked.encode().decode() == masked


@given(
    st.from_regex(r"\A[a-z]{1,8}\.[a-z]{1,8}@[a-z]{2,9}\.(com|de)\Z"),
    st.text(alphabet=" \"'<>(){}[],;:=", min_size=1, max_size=3),
    st.text(alphabet="ab @.", max_size=20),
)
def test_an_address_is_masked_between_any_characters(address: str, edge: str, rest: str) -> None:
    assert address not in mask(f"{rest}{edge}{address}{edge}{rest}")
