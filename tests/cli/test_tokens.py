"""Creating, listing and revoking API tokens on the command line."""

import re
from collections.abc import Callable
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from worker.cli import cli, common
from worker.ledger.database import Ledger
from worker.ledger.setup import access, audit_log

Run = Callable[..., Result]


@pytest.fixture
def run(sqlite_ledger: Ledger) -> Run:
    def run(*arguments: str) -> Result:
        with patch.object(common, "checked_ledger", lambda: sqlite_ledger):
            return CliRunner().invoke(cli, ["tokens", *arguments])

    return run


def test_a_token_is_printed_alone_so_that_a_script_can_take_it(run: Run, sqlite_ledger: Ledger) -> None:
    result = run("create", "Anna", "--role", "editor")

    assert result.exit_code == 0
    assert re.fullmatch(r"sig_[A-Za-z0-9_-]{43}\n", result.stdout)
    hashed = access.token_hash(sqlite_ledger.vault, result.stdout.strip())
    with sqlite_ledger.read() as connection:
        token = access.token_by_hash(connection, hashed)
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
