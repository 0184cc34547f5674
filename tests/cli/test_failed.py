"""Failed deliveries are listed, shown, retried and discarded."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from worker.dev.shop_walk import _AD_ACCOUNT_ID
from worker.ledger.delivery import find_deliveries
from worker.ledger.setup import integrations


def _ids(shell: Shell, *filters: str) -> list[str]:
    lines = shell.good("failed", "list", "--json-lines", *filters).splitlines()
    return [json.loads(line)["event_id"] for line in lines]


def _stands(shell: Shell) -> dict[str, str]:
    with shell.ledger.read() as connection:
        return {one.event_id: one.state for one in find_deliveries.find_after(connection, 0, 100)}


def test_says_so_where_nothing_failed(shell: Shell) -> None:
    assert shell.good("failed", "list") == "No failed deliveries.\n"


def test_lists_groups_and_single_deliveries_with_their_reasons(failures: Shell) -> None:
    printed = failures.good("failed", "list")
    assert f"2  rejected           checkout       ad account {_AD_ACCOUNT_ID}" in printed
    assert printed.count("Pinterest refused the value.") == 2


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((), ["evt_1", "evt_2", "evt_3", "evt_4"]),
        (("--event-name", "checkout"), ["evt_1", "evt_2"]),
        (("--event-id", "evt_3"), ["evt_3"]),
        (("--ad-account", _AD_ACCOUNT_ID), ["evt_1", "evt_2", "evt_3", "evt_4"]),
        (("--ad-account", "1"), []),
        (("--class", "rejected"), ["evt_1", "evt_2", "evt_3", "evt_4"]),
        (("--class", "stale"), []),
        (("--since", "1h"), ["evt_1", "evt_2", "evt_3", "evt_4"]),
        (("--since", "2999-01-01"), []),
        (("--limit", "2"), ["evt_1", "evt_2"]),
    ],
)
def test_filters(failures: Shell, filters: tuple[str, ...], expected: list[str]) -> None:
    assert _ids(failures, *filters) == expected


def test_filters_by_integration(failures: Shell) -> None:
    with failures.ledger.read() as connection:
        (one,) = integrations.integrations_after(connection, 10)
    assert len(_ids(failures, "--integration", one.id)) == 4
    done = failures.run("failed", "list", "--integration", "int_nobody")
    assert (done.exit_code, "there is no integration int_nobody" in done.output) == (2, True)


def test_flags_what_is_late_and_what_is_stale(failures: Shell) -> None:
    flags = {
        one["event_id"]: (one["late"], one["stale"])
        for one in map(json.loads, failures.good("failed", "list", "--json-lines").splitlines())
    }
    assert set(flags.values()) == {(False, False), (True, False), (True, True)}
    for line in failures.good("failed", "list").splitlines()[-4:]:
        late, stale = next(flags[name] for name in flags if name in line)
        assert ("[late: over an hour old]" in line) == (late and not stale)
        assert ("[stale: over 7 days old]" in line) == stale


def test_exports_all_that_is_chosen_without_what_would_be_sent(failures: Shell, tmp_path: Path) -> None:
    done = failures.run("failed", "export", "--event-name", "checkout")
    assert [json.loads(line)["event_id"] for line in done.stdout.splitlines()] == ["evt_1", "evt_2"]
    assert done.stderr == "2 failed deliveries.\n"
    failures.good("failed", "export", "--output", str(tmp_path / "failed.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "failed.jsonl").read_text().splitlines()]
    assert [line["event_id"] for line in lines] == _ids(failures)
    assert all(line["reason"] and "payload" not in line for line in lines)


def test_refuses_a_time_that_is_none(failures: Shell) -> None:
    done = failures.run("failed", "list", "--since", "lately")
    assert done.exit_code == 2
    assert "must be like 90m, 24h, 7d or 2030-01-29T14:53:20Z." in done.output


def test_shows_one_and_its_payload_only_when_asked(failures: Shell) -> None:
    assert '{"event_name":"signup"}' not in failures.good("failed", "show", "3")
    printed = failures.good("failed", "show", "3", "--payload")
    assert "evt_3" in printed
    assert '{"event_name":"signup"}' in printed


def test_says_in_a_sentence_that_there_is_no_such_failure(failures: Shell) -> None:
    done = failures.run("failed", "show", "99")
    assert (done.exit_code, done.output) == (1, "Error: There is no failed delivery 99.\n")


def test_a_dry_run_changes_nothing(failures: Shell) -> None:
    before = _stands(failures)
    assert "Would retry 3 deliveries." in failures.good("failed", "retry", "--all", "--dry-run")
    assert "Would discard 4 deliveries." in failures.good(
        "failed", "discard", "--all", "--reason", "Why not.", "--dry-run"
    )
    assert before == _stands(failures)


def test_retries_what_may_still_be_sent_and_only_once(failures: Shell) -> None:
    printed = failures.good("failed", "retry", "--all")
    assert "Retried 3 deliveries." in printed
    assert "1 is over an hour old" in printed
    assert "1 skipped" in printed
    assert _stands(failures) == {
        "evt_1": "pending",
        "evt_2": "pending",
        "evt_3": "pending",
        "evt_4": "failed",
    }
    assert "Retried 0 deliveries." in failures.good("failed", "retry", "--all")


def test_retries_what_is_too_old_when_forced(failures: Shell) -> None:
    assert "Retried 1 delivery." in failures.good("failed", "retry", "4", "--force")
    assert _stands(failures)["evt_4"] == "pending"


def test_retries_the_numbers_given_alone(failures: Shell) -> None:
    assert "Retried 1 delivery." in failures.good("failed", "retry", "3")
    assert _ids(failures) == ["evt_1", "evt_2", "evt_4"]


@pytest.mark.parametrize("command", [("retry",), ("retry", "1", "--all"), ("discard", "--reason", "x")])
def test_wants_numbers_or_all_and_not_both(failures: Shell, command: tuple[str, ...]) -> None:
    done = failures.run("failed", *command)
    assert done.exit_code == 2
    assert "Give the numbers of deliveries, or --all" in done.output


def test_discards_by_filter_for_good(failures: Shell) -> None:
    printed = failures.good("failed", "discard", "--all", "--event-name", "checkout", "--reason", "A test.")
    assert printed.endswith("Discarded 2 deliveries.\n")
    assert _stands(failures)["evt_1"] == "discarded"
    assert "Retried 0 deliveries." in failures.good("failed", "retry", "1")


def test_the_books_balance_whatever_was_done_by_hand(failures: Shell) -> None:
    failures.good("failed", "retry", "1")
    failures.good("failed", "discard", "2", "--reason", "A test.")
    assert failures.good("books").endswith("The books balance.\n")


@pytest.mark.parametrize("command", ["list", "export", "retry", "discard"])
def test_an_unknown_class_is_refused_with_the_valid_ones(failures: Shell, command: str) -> None:
    done = failures.run("failed", command, "--class", "bogus")
    assert done.exit_code == 2
    assert "bogus is not a class" in done.output
    assert "no_identity" in done.output
    # A class that only an older version wrote.
    assert "rejected" in done.output


def test_a_known_class_without_failures_is_no_error(failures: Shell) -> None:
    assert failures.good("failed", "list", "--class", "no_identity") == "No failed deliveries.\n"
