"""Handing out access on the command line."""

import re
import time
from collections.abc import Callable
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from worker.cli import cli, common
from worker.ledger.database import Ledger
from worker.ledger.setup import audit_log, user_access
from worker.operations.setup import users

Run = Callable[..., Result]


@pytest.fixture
def run(sqlite_ledger: Ledger) -> Run:
    def run(*arguments: str, group: str = "tokens", stdin: str = "") -> Result:
        with patch.object(common, "checked_ledger", lambda: sqlite_ledger):
            return CliRunner().invoke(cli, [group, *arguments], input=stdin)

    return run


def test_a_token_is_printed_alone_so_that_a_script_can_take_it(run: Run, sqlite_ledger: Ledger) -> None:
    result = run("create", "Anna", "--role", "editor")

    assert result.exit_code == 0
    assert re.fullmatch(r"sig_[A-Za-z0-9_-]{43}\n", result.stdout)
    hashed = user_access.token_hash(sqlite_ledger.vault, result.stdout.strip())
    with sqlite_ledger.read() as connection:
        token = user_access.token_by_hash(connection, hashed)
        (entry,) = audit_log.newest_audit_entries(connection, 1)
    assert token
    assert (token.name, token.role) == ("Anna", "editor")
    assert (entry["actor"], entry["action"], entry["object"]) == (common._ACTOR, "token.create", token.actor)


def test_the_list_shows_who_may_what_and_no_token(run: Run) -> None:
    assert run("list").stdout == "No tokens except ADMIN_TOKEN.\n"
    text = run("create", "Anna").stdout.strip()
    listed = run("list").stdout

    assert re.search(r"tok_[0-9a-f]{12}\s+viewer\s.*Anna, by command line", listed)
    assert text not in listed


@pytest.mark.parametrize("by_name", [True, False])
def test_a_token_is_revoked_by_its_name_or_id(run: Run, by_name: bool) -> None:
    run("create", "Anna")
    which = "Anna" if by_name else run("list").stdout.split()[0]

    assert run("revoke", which).exit_code == 0
    assert run("list").stdout == "No tokens except ADMIN_TOKEN.\n"
    assert "There is no token" in run("revoke", which).stderr


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("Anna", "There is already a token named Anna."), (" ", "name: must be 1 to 64 characters")],
)
def test_a_wrong_name_is_refused_in_a_sentence(run: Run, name: str, sentence: str) -> None:
    run("create", "Anna")
    result = run("create", name)

    assert result.exit_code != 0
    assert sentence in result.stderr


def test_a_user_is_added_with_a_typed_password_listed_and_given_a_new_one(
    run: Run, sqlite_ledger: Ledger
) -> None:
    def access(*arguments: str, typed: str = "") -> str:
        done = run(*arguments, group="access", stdin=f"{typed}\n{typed}\n")
        assert done.exit_code == 0, done.output
        assert not typed or typed not in done.output
        return done.stdout

    assert access("list") == "No users.\n"
    assert "Added Anna (usr_" in access("add", "Anna", "--role", "editor", typed="correct horse battery")
    access("change", "Anna", "--expires", "2999-01-29")
    access("change", "Anna", "--password", "--never-expires", typed="staple correct horse")
    access("change", "Anna", "--disable")
    assert re.search(r"usr_[0-9a-f]{12}  editor  -\s+-\s+Anna  disabled\n", access("list"))
    access("change", "Anna", "--enable")
    assert users.check_password(sqlite_ledger, "Anna", "staple correct horse", time.time()) is not None
    access("remove", "Anna")
    assert access("list") == "No users.\n"
    assert run("remove", "Anna", group="access").stderr == "Error: There is no user Anna.\n"
