"""The doctor on a host where nothing runs yet."""

import json

from tests.cli.conftest import Shell
from tests.ledger.crowd import many
from worker.settings import DEMO_TOKEN_PREFIX


def test_every_check_is_made_though_those_before_it_fail(shell: Shell) -> None:
    done = shell.run("doctor", "--no-tokens")

    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert "ok    database: The database answers and takes writes." in lines
    assert "ok    keys: ENCRYPTION_KEY opens everything in the ledger." in lines
    assert any(line.startswith("FAIL  the batcher runs: It has never run: start beat") for line in lines)
    assert any(line.startswith("WARN  production: PRODUCTION is not 1") for line in lines)
    assert "checks failed" in lines[-1]


def test_json_holds_the_same(shell: Shell) -> None:
    done = shell.run("doctor", "--json", "--no-tokens")
    report = json.loads(done.output)

    assert (done.exit_code, report["status"]) == (1, "failed")
    by_check = {one["check"]: one["state"] for one in report["checks"]}
    assert (by_check["database"], by_check["migrations"], by_check["keys"]) == ("ok", "ok", "ok")
    assert by_check["the sweeper runs"] == "failed"


def test_the_demos_token_is_not_tried_at_pinterest(shell: Shell) -> None:
    report = json.loads(shell.run("doctor", "--json").output)
    (token,) = [one for one in report["checks"] if one["check"].startswith("token of ")]

    assert token["state"] == "degraded"
    assert "was not tested" in token["message"]


def test_every_integrations_token_is_looked_at(shell: Shell) -> None:
    many(shell.ledger, 51, mark=DEMO_TOKEN_PREFIX)
    report = json.loads(shell.run("doctor", "--json").output)

    assert len([check for check in report["checks"] if check["check"].startswith("token of ")]) == 52
