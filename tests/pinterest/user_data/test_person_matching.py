"""A person is recognised in every form of a stored text."""

from hashlib import sha256

import pytest

from worker.pinterest.user_data.person_matching import (
    Person,
    _mapped_email_hashes,
    all_email_hashes_in,
    split_payload,
)

EMAIL = "Kim.Muster+shop@example.com"
EMAIL_HASH = sha256(EMAIL.lower().encode()).hexdigest()
ID_HASH = sha256(b"4711").hexdigest()
BY_EMAIL = Person(emails=frozenset([EMAIL_HASH]))
BY_ID = Person(external_ids=frozenset([ID_HASH]))


@pytest.mark.parametrize(
    "text",
    [
        '{"event":{"traits":{"email":"kim.muster+shop@example.com"}}}',
        '{"event":{"traits":{"email":" KIM.Muster+Shop@Example.com "}}}',
        '{"event":{"properties":{"note":"call kim.muster+shop@example.com, please."}}}',
        '{"event":{"context":{"page":{"url":"https://s.example/?e=kim.muster%2Bshop%40example.com&x=1"}}}}',
        '{"event":{"context":{"page":{"url":"https://s.example/?e=kim.muster+shop@example.com#top"}}}}',
        f'{{"user_data":{{"em":["{EMAIL_HASH}"]}}}}',
        f'{{"event":{{"traits":{{"email":"{EMAIL_HASH.upper()}"}}}}}}',
        f'{{"traits":{{"em":["{EMAIL_HASH}"]}},"user_id":"x"}}',
    ],
    ids=[
        "raw",
        "spelt otherwise",
        "in a sentence",
        "encoded",
        "in an address",
        "mapped",
        "hashed",
        "a visitor",
    ],
)
def test_an_email_is_found_in_every_place(text: str) -> None:
    assert BY_EMAIL.appears_in(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"event":{"traits":{"email":"muster+shop@example.com"}}}',
        '{"event":{"traits":{"email":"kim.muster@example.com"}}}',
        '{"event":{"properties":{"total":"@"}}}',
        "no JSON @ all",
        "",
    ],
)
def test_another_persons_email_does_not_match(text: str) -> None:
    assert not BY_EMAIL.appears_in(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"event":{"userId":"4711"}}',
        '{"event":{"userId":4711}}',
        '{"event":{"traits":{"externalId":["1","4711"]}}}',
        '{"event":{"context":{"traits":{"external_id":"4711"}}}}',
        '{"event":{"properties":{"userdata":{"external_id":"4711"}}}}',
        f'{{"user_data":{{"external_id":["{ID_HASH}"]}}}}',
    ],
)
def test_an_id_is_found_where_the_mapping_reads_ids(text: str) -> None:
    assert BY_ID.appears_in(text.encode())


def test_another_number_does_not_match_the_id() -> None:
    assert not BY_ID.appears_in(b'{"event":{"properties":{"quantity":4711,"order_id":"4711"}}}')


def test_all_emails_of_a_text_are_found() -> None:
    other = sha256(b"other@example.com").hexdigest()
    assert all_email_hashes_in(
        f'{{"user_data":{{"em":["{EMAIL_HASH}"]}},"x":"other@example.com"}}'.encode()
    ) == {
        EMAIL_HASH,
        other,
    }


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"user_data":1}', b'{"user_data":{"em":"x"}}', b'{"user_data":{"em":[1]}}']
)
def test_a_text_without_emails_has_no_hashes(text: bytes) -> None:
    assert _mapped_email_hashes(text) == []


def test_a_long_text_takes_linear_time() -> None:
    """A backtracking pattern would take minutes."""
    assert not BY_EMAIL.appears_in(b"@" * 500_000 + b"a" * 500_000)


@pytest.mark.parametrize(
    ("fields", "rest", "taken"),
    [
        ([], {"em": ["a"], "external_id": ["b", "c"], "click_id": "d"}, {}),
        (["em"], {"external_id": ["b", "c"], "click_id": "d"}, {"em": ["a"]}),
        (["external_id:0"], {"em": ["a"], "external_id": ["c"], "click_id": "d"}, {"external_id": ["b"]}),
        (
            ["external_id:0", "external_id:1", "click_id", "ph"],
            {"em": ["a"]},
            {"external_id": ["b", "c"], "click_id": "d"},
        ),
    ],
)
def test_a_payload_is_split_by_field_and_by_value(
    fields: list[str], rest: dict[str, object], taken: dict[str, object]
) -> None:
    text = b'{"event_id":"e","user_data":{"em":["a"],"external_id":["b","c"],"click_id":"d"}}'
    assert split_payload(text, fields) == ({"event_id": "e", "user_data": rest}, taken)
