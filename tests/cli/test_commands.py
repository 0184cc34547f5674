"""The other commands, on a small ledger."""

import json
import re
import subprocess
from importlib.metadata import version

from sqlalchemy import delete

from docs.product import ROOT
from tests.cli.conftest import Shell
from tests.integration import document
from tests.ledger.shop import NOW, accept, place
from worker.dev.shop_walk import _AD_ACCOUNT_ID, _SOURCE_ID
from worker.ledger.intake.inbox import park_event
from worker.ledger.schema import State, delivery
from worker.ledger.setup import ad_accounts

EM = "836f82db99121b3481011f16b49dfa5fbc714a0d1b1b9f784a1ebbbf5b39577f"


def test_migrating_twice_changes_nothing(shell: Shell) -> None:
    assert shell.good("migrate") == "The ledger is up to date.\n"
    assert shell.good("migrate") == "The ledger is up to date.\n"


def test_helps_are_whole_sentences(shell: Shell) -> None:
    for group in ([], ["failed"], ["accounts"]):
        listed = shell.good(*group, "--help").partition("Commands:")[2]
        assert "..." not in listed
        assert len(re.findall(r"[.!]$", listed, re.M)) >= 3
    assert "Show the problems in the data of SOURCE_ID" in shell.good("--help")


def test_accounts_are_paused_and_resumed_once(shell: Shell) -> None:
    assert f"{_AD_ACCOUNT_ID}" in shell.good("accounts", "list")
    assert shell.good("accounts", "pause", _AD_ACCOUNT_ID, "--reason", "A test.") == "Paused.\n"
    assert "by command line: A test." in shell.good("accounts", "list")
    assert shell.good("accounts", "pause", _AD_ACCOUNT_ID) == "Already paused.\n"
    assert shell.good("accounts", "resume", _AD_ACCOUNT_ID).startswith("Resumed")
    assert shell.good("accounts", "resume", _AD_ACCOUNT_ID) == "Already running.\n"


def test_one_command_stops_everything_and_one_lets_it_go_on(shell: Shell) -> None:
    """The kill switch; what the delivery paused for a reason of its own is no part of it."""
    refused = place(shell.ledger, "src_refused", "42")
    with shell.ledger.write() as connection:
        ad_accounts.pause_credential(
            connection, refused.credential_id, "unauthorized", "HTTP 401", "delivery", NOW
        )
    assert shell.run("accounts", "pause").exit_code == 2
    assert shell.run("accounts", "pause", "42", "--all").exit_code == 2
    assert shell.good("accounts", "pause", "--all", "--reason", "Legal asked.") == "Paused 2 ad accounts.\n"
    assert shell.good("accounts", "list").count("by command line: Legal asked.") == 2
    assert shell.good("accounts", "pause", "--all") == "Paused 0 ad accounts.\n"
    with shell.ledger.write() as connection:
        ad_accounts.resume_credential(connection, refused.credential_id, now=NOW)
        ad_accounts.pause_credential(
            connection, refused.credential_id, "unauthorized", "HTTP 401", "delivery", NOW
        )
    assert shell.good("accounts", "resume", "--all").startswith("Resumed 1 ad account;")
    assert "HTTP 401" in shell.good("accounts", "list")


def test_an_accounts_rate_is_set(shell: Shell) -> None:
    shell.good("accounts", "rate", _AD_ACCOUNT_ID, "7.5", "9")
    assert "7.5 requests/s, burst 9" in shell.good("accounts", "list")
    assert shell.run("accounts", "rate", _AD_ACCOUNT_ID, "0", "9").exit_code == 2


def test_an_account_that_nobody_delivers_to_is_named(shell: Shell) -> None:
    for command in (("pause", "42"), ("resume", "42"), ("rate", "42", "1", "1")):
        done = shell.run("accounts", *command)
        assert (done.exit_code, done.output) == (1, "Error: There is no ad account 42.\n")


def test_books_that_do_not_balance_end_with_status_one(shell: Shell) -> None:
    shell.add("evt_1", "signup", State.FAILED)
    assert shell.good("books").endswith("The books balance.\n")
    with shell.ledger.write() as connection:
        connection.execute(delete(delivery))
    done = shell.run("books", "--audit")
    assert done.exit_code == 1
    assert "does not balance" in done.output
    # The rows that vanished were an end's: only counting them shows it.
    assert shell.run("books").exit_code == 0


def test_the_books_speak_of_each_ad_account(shell: Shell) -> None:
    shell.add("evt_1", "signup", State.FAILED)
    shell.add("evt_2", "signup", State.OPEN)
    for command in (("books",), ("books", "--audit")):
        printed = shell.good(*command)
        assert f"Ad account {_AD_ACCOUNT_ID}: 1 failed, 1 pending\n" in printed
        assert f"  {_AD_ACCOUNT_ID}: created" in printed


def test_finds_an_event_and_an_order(shell: Shell) -> None:
    shell.add("evt_1", "checkout", State.FAILED, reason="Pinterest refused it.", reason_class="refused")
    for what in ("evt_1", "order of evt_1", "#order of evt_1"):
        printed = shell.good("find", what)
        assert "failed" in printed
        assert "event evt_1" in printed
        assert "Pinterest refused it." in printed
        assert "What to do: If Pinterest names a field, correct it in the shop" in printed
    missing = shell.run("find", "evt_2")
    assert (missing.exit_code, missing.output.partition(":")[0]) == (1, "Not found")


def test_the_version_is_that_of_the_package(shell: Shell) -> None:
    assert shell.good("--version") == f"signal-worker {version('signal-worker')}\n"


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    printed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[1] for line in printed.splitlines()} == set(targets.split()) - {"help"}


def test_the_readmes_event_is_explained(shell: Shell) -> None:
    assert "Event 1: Order Completed" in shell.good("explain", str(ROOT / "event.json"))


def test_finds_what_still_waits_to_be_mapped(shell: Shell) -> None:
    accept(shell.ledger, [{"type": "page", "messageId": "evt_3"}], source_id=_SOURCE_ID)
    printed = shell.good("find", "evt_3")
    assert printed.startswith("   inbox  page  event evt_3  accepted ")
    assert printed.endswith("  not mapped yet\n")
    with shell.ledger.write() as connection:
        park_event(connection, 1, "ValueError at mapping.py:1")
    assert "set aside: ValueError at mapping.py:1. Once the cause is fixed, `failed unpark`" in shell.good(
        "find", "evt_3"
    )


def _checkout() -> str:
    name, properties = document.checkout_call()
    context = {
        "page": {"url": "https://example.com/checkout/confirmation?epik=epik_abc123def456"},
        "consent": {"advertising": True},
    }
    identify = {"type": "identify", "traits": {"email": "john.doe@example.com"}, "context": context}
    order = {"type": "track", "event": name, "properties": properties, "context": context}
    return json.dumps({"batch": [identify, order | {"messageId": "evt_abc123def456"}]})


def test_explains_the_documents_checkout(shell: Shell) -> None:
    cookie = ("--pin-unauth", "a1b2c3d4-e5f6-7890-abcd-ef1234567890")
    printed = shell.good("explain", *cookie, "--show-personal", stdin=_checkout())
    assert "Event 2: Order Completed" in printed
    payload = json.JSONDecoder().raw_decode(printed[printed.index("{\n", printed.index("sent: checkout")) :])[
        0
    ]
    expected = document.payload("Pinterest Conversions API payload")
    url = "https://example.com/checkout/confirmation?epik=epik_abc123def456"
    assert payload | {"event_time": 1706540000} == expected | {"event_source_url": url}


def test_explains_without_showing_who_it_is(shell: Shell) -> None:
    printed = shell.good("explain", "--source", "src_abc123", "--ip", "203.0.113.77", stdin=_checkout())
    assert "john.doe" not in printed
    assert "203.0.113.77" not in printed
    assert EM in printed


def test_a_national_phone_number_is_read_in_the_country_that_is_given(shell: Shell) -> None:
    consent, traits = {"advertising": True}, {"phone": "(415) 555-2671"}
    event = {"type": "track", "event": "Signed Up", "context": {"consent": consent, "traits": traits}}
    said = "ph: digits with the country code"
    assert said not in shell.good("explain", stdin=json.dumps(event))
    assert said in shell.good("explain", "--country", "USA", stdin=json.dumps(event))
    refused = shell.run("explain", "--country", "Mars", stdin=json.dumps(event))
    assert refused.exit_code == 2
    assert "Mars is not a country" in refused.output


def test_what_was_sent_to_an_address_of_its_own_is_explained_as_it_stands(shell: Shell) -> None:
    """The address `/v1/t` says that it is a track call, so that the event need not."""
    event = {"event": "Signed Up", "context": {"consent": {"advertising": True}}}
    for given in (event, {"batch": [event]}):
        printed = shell.good("explain", stdin=json.dumps(given))
        assert "Event 1: Signed Up" in printed
        assert "sent: signup" in printed


def test_what_cannot_be_explained_is_refused_in_a_sentence(shell: Shell) -> None:
    for arguments, given, said in (
        ((), '{"type": "wave"}', "events.0.type: must be one of track, page, identify, group"),
        ((), b"\xff", "body: must be JSON in UTF-8"),
        (("--source", "src_none"), _checkout(), "source_id: there is no source src_none"),
    ):
        done = shell.run("explain", *arguments, stdin=given)
        assert (done.exit_code, done.output) == (2, f"Error: {said}\n")
