"""A person is erased on the command line."""

import time

import pytest

from tests.cli.conftest import Shell
from tests.ledger import shop
from worker.dev.shop_walk import _SOURCE_ID
from worker.operations.person import erasing

KIM = "kim@example.com"


@pytest.fixture
def known(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Let two events of Kim and one of another person wait."""
    monkeypatch.setattr(erasing, "_SETTLING_SECONDS", 0.0)
    events = [
        {
            "type": "track",
            "event": "Order Completed",
            "messageId": f"m{number}",
            "context": {"traits": {"email": email}},
        }
        for number, email in enumerate((KIM, "KIM@Example.com ", "lee@example.com"))
    ]
    shop.accept(shell.ledger, events, source_id=_SOURCE_ID, received_at=time.time())
    return shell


def test_a_dry_run_counts_and_changes_nothing(known: Shell) -> None:
    for _ in range(2):
        printed = known.good("erase", "--email", KIM, "--dry-run")
        assert printed == "Would erase 2 waiting events, 0 visitors, 0 deliveries.\n"


def test_it_asks_before_and_a_no_changes_nothing(known: Shell) -> None:
    done = known.run("erase", "--email", KIM, stdin="n\n")
    assert done.exit_code == 1
    assert "Erase this person's data? This cannot be undone. [y/N]" in done.output
    assert "Would erase 2" in known.good("erase", "--email", KIM, "--dry-run")


def test_it_erases_once_and_the_books_balance(known: Shell) -> None:
    assert (
        known.good("erase", "--email", KIM, "--yes") == "Erased 2 waiting events, 0 visitors, 0 deliveries.\n"
    )
    assert known.good("erase", "--email", KIM, "--yes").startswith(
        "Erased 0 waiting events, 0 visitors, 0 deliv"
    )
    books = known.good("books")
    assert "erased                           2" in books
    assert books.endswith("The books balance.\n")


def test_deliveries_are_told_by_where_they_stood(failures: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_SETTLING_SECONDS", 0.0)
    monkeypatch.setattr("worker.pinterest.user_data.person_matching.Person.appears_in", lambda *_: True)
    printed = failures.good("erase", "--email-sha256", "ab" * 32, "--external-id", "4711", "--yes")
    assert printed == "Erased 0 waiting events, 0 visitors, 4 deliveries.\n         4 failed\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "--email must be given, or another identifier."),
        (("--email", "kim"), "--email must be an e-mail address like kim@example.com."),
        (
            ("--email-sha256", "x"),
            "--email-sha256 must be a SHA-256 of 64 hex digits, and not that of nothing.",
        ),
        (("--user-id", " "), "--external-id must be an id of 1 to 1,024 characters."),
    ],
)
def test_what_is_no_identifier_is_refused_by_its_option(
    shell: Shell, options: tuple[str, ...], sentence: str
) -> None:
    done = shell.run("erase", "--yes", *options)
    assert (done.exit_code, sentence in done.output) == (2, True), done.output
