"""Connect with Pinterest from a terminal, and see there that events go to a sandbox."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from unittest.mock import patch

import click
import pytest
import requests
from click.testing import Result

from tests.cli.conftest import Shell
from worker.dev.sandbox.server import Sandbox, sandbox_in_thread
from worker.dev.shop_walk import _SOURCE_ID
from worker.ledger.setup import ad_accounts, integrations, pinterest_connections
from worker.ledger.setup.integrations import Integration
from worker.settings import settings

GERMAN = "549755885176"


@pytest.fixture
def sandbox(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    assert shell
    with sandbox_in_thread() as sandbox:
        given = {"PINTEREST_API_URL": sandbox.url, "ALLOW_SANDBOX": "1"}
        for name, value in (
            given | {"PINTEREST_APP_ID": "1500000", "PINTEREST_APP_SECRET": "secret"}
        ).items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        yield sandbox
    settings.cache_clear()


def connect(shell: Shell, *arguments: str, paste: Callable[[str], str], then: tuple[str, ...] = ()) -> Result:
    """Run the command; paste what a person makes of the address to which Pinterest leads."""
    shown: list[str] = []
    answers = iter(then)

    def prompt(text: str, **_: object) -> str:
        if not text.startswith("Then paste"):
            return next(answers)
        (address,) = re.findall(r"http\S+/oauth/\S+", "\n".join(shown))
        given = requests.get(address, params={"choice": "give"}, allow_redirects=False, timeout=10)
        return paste(given.headers["Location"])

    echo = click.echo
    with (
        patch("click.prompt", prompt),
        patch("click.echo", lambda text="", **more: (shown.append(str(text)), echo(text, **more))),
    ):
        return shell.run("connect", *arguments)


def integration_of(shell: Shell, ad_account_id: str) -> Integration:
    with shell.ledger.read() as connection:
        found = list(integrations.iterate_integrations(connection))
    return next(one for one in found if one.ad_account_id == ad_account_id)


@pytest.mark.parametrize(
    "paste",
    [lambda address: address, lambda address: re.findall(r"code=(\w+)", address)[0]],
    ids=["address", "code"],
)
@pytest.mark.usefixtures("sandbox")
def test_an_integration_is_added_for_the_ad_account_that_a_person_chose(
    shell: Shell, paste: Callable[[str], str]
) -> None:
    done = connect(shell, "--source", _SOURCE_ID, paste=paste, then=("client", "nothing", "laden"))
    assert done.exit_code == 0, done.output
    assert "549755885240        Client 40, GB GBP" not in done.output
    assert "549755885201        Client 01, GB GBP" in done.output
    assert "No ad account's name or id contains" in done.output
    made = integration_of(shell, GERMAN)
    assert f"{made.id} delivers to Laden Berlin ({GERMAN})." in done.output
    assert (made.name, made.config["default_country"]) == ("Pinterest: Laden Berlin", "DE")
    with shell.ledger.read() as connection:
        token = ad_accounts.access_token(connection, shell.ledger.vault, made.credential_id)
        assert [one.name for one in pinterest_connections.readings(connection)] == ["Laden Berlin"]
    assert token.startswith("pinc_")


@pytest.mark.usefixtures("sandbox")
def test_an_integration_is_connected_and_another_address_is_refused(shell: Shell) -> None:
    with shell.ledger.read() as connection:
        (demo,) = integrations.iterate_integrations(connection)
    elsewhere = connect(
        shell, "--integration", demo.id, paste=lambda _: "https://evil.example/?code=1&state=2"
    )
    assert (elsewhere.exit_code, "not to this address" in elsewhere.output) == (1, True)
    other_state = connect(
        shell, "--integration", demo.id, paste=lambda text: text.replace("state=", "state=x")
    )
    assert (other_state.exit_code, "This sign-in has expired" in other_state.output) == (1, True)
    done = connect(shell, "--integration", demo.id, paste=lambda text: text)
    assert (done.exit_code, "Connected." in done.output) == (0, True)


def test_without_an_app_the_command_says_how_to_get_one(shell: Shell) -> None:
    done = shell.run("connect", "--source", _SOURCE_ID)
    assert (done.exit_code, "Set PINTEREST_APP_ID and PINTEREST_APP_SECRET" in done.output) == (1, True)
    assert shell.run("connect").exit_code == 2


@pytest.mark.slow
def test_a_person_at_a_terminal_reads_that_events_go_to_a_sandbox(sandbox: Sandbox) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "worker", "accounts", "list"]
    subprocess.run(command, stderr=theirs, check=True, timeout=60, stdout=subprocess.DEVNULL)
    os.close(theirs)
    assert f"Sandbox: events go to {sandbox.url}, not to Pinterest." in os.read(ours, 10_000).decode()
    os.close(ours)
    quiet = subprocess.run(command, capture_output=True, check=True, timeout=60, text=True)
    assert quiet.stderr == ""
