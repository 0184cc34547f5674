"""Every fault of a script occurs over real HTTP."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import requests

from tests.dev.sandbox.samples import ACCOUNT, TOKEN, event, events, post
from worker.dev.sandbox.server import Sandbox


def behave(sandbox: Sandbox, *rules: dict[str, Any]) -> None:
    sandbox.behave({"seed": 1, "rules": list(rules)})


def accepted(sandbox: Sandbox) -> int:
    count: int = sandbox.received()["accepted"]
    return count


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 4196), (401, 2), (403, 29), (404, 29), (429, 8), (500, 1), (503, 4197), (599, 1)],
)
def test_a_status_comes_with_pinterests_code(sandbox: Sandbox, status: int, code: int) -> None:
    behave(sandbox, {"status": status})
    response = post(sandbox, [event()])
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert accepted(sandbox) == 0


def test_a_status_is_answered_in_the_scripts_words(sandbox: Sandbox) -> None:
    behave(
        sandbox,
        {"times": 1, "status": 401, "code": 3, "message": "No.", "headers": {"X-Request-Id": "7"}},
        {"times": 1, "status": 502, "body": "<html>Bad gateway</html>"},
        {"status": 422},
    )
    first, second, third = (post(sandbox, [event()]) for _ in range(3))
    assert (first.json(), first.headers["X-Request-Id"]) == ({"code": 3, "message": "No."}, "7")
    assert (second.status_code, second.text) == (502, "<html>Bad gateway</html>")
    assert third.json()["details"] == {}


def test_a_status_without_a_body_leaves_nothing_on_the_connection(sandbox: Sandbox) -> None:
    behave(sandbox, {"status": 204, "body": "ignored"})
    response = post(sandbox, [event()])
    assert (response.status_code, response.content, response.headers["Content-Length"]) == (204, b"", "0")


def test_a_status_can_hide_that_the_events_were_accepted(sandbox: Sandbox) -> None:
    behave(sandbox, {"status": 500, "accepting": True})
    assert post(sandbox, events(3)).status_code == 500
    assert accepted(sandbox) == 3


def test_events_fail_as_told(sandbox: Sandbox) -> None:
    behave(sandbox, {"fail_events": {"positions": [1], "event_ids": ["evt_3"], "error_message": "No."}})
    answer = post(sandbox, events(4)).json()
    assert [entry["error_message"] for entry in answer["events"]] == ["", "No.", "", "No."]
    assert answer["num_events_processed"] == accepted(sandbox) == 2


@pytest.mark.parametrize(("listing", "entries"), [("full", 3), ("short", 2), ("long", 4), ("none", None)])
@pytest.mark.parametrize("answer_as", [200, 422])
def test_the_list_can_be_of_the_wrong_length(
    sandbox: Sandbox, listing: str, entries: int | None, answer_as: int
) -> None:
    behave(sandbox, {"fail_events": {"positions": [0], "as": answer_as, "list": listing}})
    response = post(sandbox, events(3))
    body = response.json() if answer_as == 200 else response.json()["details"]
    assert response.status_code == answer_as
    assert (len(body["events"]) if "events" in body else None) == entries
    assert accepted(sandbox) == 2


def test_the_list_can_be_wrong_with_nothing_failed(sandbox: Sandbox) -> None:
    behave(sandbox, {"fail_events": {"list": "short"}})
    assert len(post(sandbox, events(3)).json()["events"]) == 2


def test_events_are_warned_about(sandbox: Sandbox) -> None:
    behave(sandbox, {"warn_events": {"event_ids": ["evt_1"], "warning_message": "Odd."}})
    answer = post(sandbox, events(2)).json()
    assert [entry["warning_message"] for entry in answer["events"]] == ["", "Odd."]
    assert answer["num_events_processed"] == 2


def test_latency_holds_up_its_own_request_only(sandbox: Sandbox) -> None:
    behave(sandbox, {"account": "2", "latency_seconds": [0.6, 0.7]})
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        slow = pool.submit(post, sandbox, [event()], account="2")
        for _ in range(5):
            post(sandbox, [event()])
        others_took = time.monotonic() - started
        slow.result()
        slow_took = time.monotonic() - started
    assert others_took < slow_took
    assert slow_took >= 0.6


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize(("action", "recorded"), [("cut", 0), ("accept_then_cut", 2)])
def test_a_connection_is_cut_before_or_after_accepting(
    sandbox: Sandbox, action: str, recorded: int, ending: str
) -> None:
    behave(sandbox, {"times": 1, action: ending})
    with pytest.raises(requests.ConnectionError) as cut:
        post(sandbox, events(2))
    assert ("Connection reset" in str(cut.value)) == (ending == "reset")
    assert accepted(sandbox) == recorded
    assert post(sandbox, events(2)).status_code == 200


@pytest.mark.parametrize("body_bytes", [0, 20, 1_000_000])
def test_an_answer_is_truncated_after_accepting(sandbox: Sandbox, body_bytes: int) -> None:
    behave(sandbox, {"truncate": body_bytes})
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        post(sandbox, events(2))
    assert accepted(sandbox) == 2


def test_a_dripping_answer_outlives_a_read_timeout(sandbox: Sandbox) -> None:
    """Each byte comes well within the timeout, the whole answer long after it."""
    behave(sandbox, {"drip": {"bytes_per_second": 400}})
    started = time.monotonic()
    response = post(sandbox, [event()], timeout=0.5)
    assert response.json()["num_events_processed"] == 1
    assert time.monotonic() - started > 0.5


def test_a_rate_limit_answers_429_with_its_headers(sandbox: Sandbox) -> None:
    behave(sandbox, {"rate_limit": {"rps": 0.1, "burst": 2}})
    responses = [post(sandbox, [event()]) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    refused = responses[2]
    assert refused.json()["code"] == 8
    assert refused.headers["Retry-After"] == refused.headers["X-RateLimit-Reset"] == "10"
    assert post(sandbox, [event()], account="2").status_code == 200


def test_only_good_tokens_pass(sandbox: Sandbox) -> None:
    behave(sandbox, {"require_token": [TOKEN]})
    assert [post(sandbox, [event()], token=token).status_code for token in (TOKEN, "stale")] == [200, 401]


def test_a_poisoned_event_spoils_every_request_that_holds_it(sandbox: Sandbox) -> None:
    behave(sandbox, {"event_id": "evt_3", "status": 400})
    assert post(sandbox, events(5)).status_code == 400
    assert post(sandbox, events(3)).status_code == 200


def test_faults_repeat_with_the_seed(sandbox: Sandbox) -> None:
    seen = []
    for _ in range(2):
        behave(sandbox, {"probability": 0.4, "status": 500}, {"probability": 0.4, "status": 429})
        seen.append([post(sandbox, [event()]).status_code for _ in range(20)])
    assert seen[0] == seen[1]
    assert set(seen[0]) == {200, 429, 500}


def test_a_connection_goes_on_after_a_scripted_status(sandbox: Sandbox) -> None:
    behave(sandbox, {"times": 1, "status": 500})
    body = json.dumps({"data": [event()]})
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    statuses, ports = [], set()
    with closing(http.client.HTTPConnection(sandbox.host, sandbox.port, timeout=10)) as connection:
        for _ in range(3):
            connection.request("POST", f"/v5/ad_accounts/{ACCOUNT}/events", body, headers)
            with connection.getresponse() as response:
                response.read()
                statuses.append(response.status)
            ports.add(connection.sock.getsockname()[1])
    assert statuses == [500, 200, 200]
    assert len(ports) == 1
