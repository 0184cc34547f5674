"""Adding, changing and removing users on the command line."""

import re
import time
from unittest.mock import patch

from click.testing import CliRunner, Result

from worker.cli import cli, common
from worker.ledger.database import Ledger
from worker.operations.setup import access


def test_a_user_is_added_with_a_typed_password_listed_and_given_a_new_one(
    sqlite_ledger: Ledger,
) -> None:
    def invoke(*arguments: str, stdin: str = "") -> Result:
        with patch.object(common, "checked_ledger", lambda: sqlite_ledger):
            return CliRunner().invoke(cli, ["access", *arguments], input=stdin)

    def run(*arguments: str, typed: str = "") -> str:
        done = invoke(*arguments, stdin=f"{typed}\n{typed}\n")
        assert done.exit_code == 0, done.output
        assert not typed or typed not in done.output
        return done.stdout

    assert run("list") == "No users.\n"
    assert "Added Anna (usr_" in run("add", "Anna", "--role", "editor", typed="correct horse battery")
    run("change", "Anna", "--expires", "2999-01-29")
    run("change", "Anna", "--password", "--never-expires", typed="staple correct horse")
    run("change", "Anna", "--disable")
    assert re.search(r"usr_[0-9a-f]{12}  editor  -\s+-\s+Anna  disabled\n", run("list"))
    run("change", "Anna", "--enable")
    assert access.check_password(sqlite_ledger, "Anna", "staple correct horse", time.time()) is not None
    run("remove", "Anna")
    assert run("list") == "No users.\n"
    assert invoke("remove", "Anna").stderr == "Error: There is no user Anna.\n"
