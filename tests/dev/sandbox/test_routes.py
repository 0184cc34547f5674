"""The sandbox reports what it received, and accepts scripts, over real HTTP."""

import pytest
import requests

from tests.dev.sandbox.samples import ACCOUNT, event, events, post
from worker.dev.sandbox.server import Sandbox, _SandboxError


def test_healthz(sandbox: Sandbox) -> None:
    response = requests.get(f"{sandbox.url}/healthz", timeout=10)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_received_counts_and_shows(sandbox: Sandbox) -> None:
    post(sandbox, [event("a"), event("b")])
    post(sandbox, [event("a")])
    post(sandbox, [event("c", x=1)])
    received = sandbox.received()
    last = received.pop("last")
    assert received == {
        "requests": 3,
        "statuses": {"200": 2, "400": 1},
        "faults": {},
        "events": 3,
        "accepted": 3,
        "tested": 0,
        "unique_ids": 2,
        "repeated_ids": 1,
        "extra_copies": 1,
        "ids_not_kept": 0,
        "counts": {ACCOUNT: {"page_visit": 3}},
        "test_counts": {},
    }
    assert [entry["event"]["event_id"] for entry in last] == ["a", "b", "a"]
    assert set(last[0]) == {"received_at", "account", "test", "token", "event"}


def test_received_can_be_narrowed(sandbox: Sandbox) -> None:
    post(sandbox, [event("a"), event("b", event_name="lead")])
    post(sandbox, [event("a")], account="2")

    def shown(**filters: object) -> list[str]:
        last = sandbox.received(**filters)["last"]
        return [f"{entry['account'][0]}{entry['event']['event_id']}" for entry in last]

    assert shown(event_id="a") == ["1a", "2a"]
    assert shown(event_name="lead") == ["1b"]
    assert shown(account="2", event_id="a") == ["2a"]
    assert shown(limit=2) == ["1b", "2a"]
    assert sandbox.received(account="2")["counts"] == {"2": {"page_visit": 1}}


@pytest.mark.parametrize("path", ["/received?limit=many", "/received?limit=-1", "/received/requests?limit="])
def test_a_limit_is_a_number(sandbox: Sandbox, path: str) -> None:
    assert requests.get(sandbox.url + path, timeout=10).status_code == 400


def test_ids_are_streamed(sandbox: Sandbox) -> None:
    post(sandbox, events(1_000))
    post(sandbox, [event("evt_7"), event("more")])
    post(sandbox, [event("other")], account="2")
    lines = list(sandbox.ids(ACCOUNT))
    assert len(lines) == 1_001
    assert lines[7] == {"account": ACCOUNT, "event_id": "evt_7", "event_name": "page_visit", "copies": 2}
    assert len(list(sandbox.ids())) == 1_002


def test_requests_are_listed_with_times_and_statuses(sandbox: Sandbox) -> None:
    sandbox.behave({"rules": [{"after": 1, "times": 1, "status": 503}, {"after": 1, "cut": "close"}]})
    post(sandbox, [event(f"evt_{n}") for n in range(5)])
    post(sandbox, [event("b")])
    with pytest.raises(requests.ConnectionError):
        post(sandbox, [event("c")])
    listed = sandbox.requests(ACCOUNT)
    assert [(entry["status"], entry["fault"], entry["events"], entry["accepted"]) for entry in listed] == [
        (200, None, 5, 5),
        (503, None, 1, 0),
        (None, "cut", 1, 0),
    ]
    assert listed[0]["first_event_ids"] == ["evt_0", "evt_1", "evt_2"]
    assert listed[0]["at"] <= listed[1]["at"] <= listed[2]["at"]


def test_rates_are_counted_by_account(sandbox: Sandbox) -> None:
    for _ in range(3):
        post(sandbox, [event()])
    post(sandbox, [event()], account="2")
    assert {name: rate["most_in_60_seconds"] for name, rate in sandbox.rates().items()} == {
        ACCOUNT: 3,
        "2": 1,
    }


def test_what_was_received_can_be_forgotten(sandbox: Sandbox) -> None:
    post(sandbox, [event()])
    sandbox.forget()
    assert (sandbox.received()["requests"], list(sandbox.ids())) == (0, [])


def test_behave_shows_the_script_and_its_tallies(sandbox: Sandbox) -> None:
    script = {"seed": 1, "rules": [{"times": 1, "status": 500}]}
    assert sandbox.behave(script) == {"script": script, "rules": [{"matched": 0, "applied": 0}]}
    assert [post(sandbox, [event()]).status_code for _ in range(2)] == [500, 200]
    assert sandbox.behaviour()["rules"] == [{"matched": 2, "applied": 1}]
    sandbox.behave_well()
    assert sandbox.behaviour() == {"script": {}, "rules": []}


def test_a_wrong_script_is_refused_and_the_one_before_stays(sandbox: Sandbox) -> None:
    sandbox.behave({"rules": [{"status": 500}]})
    with pytest.raises(_SandboxError, match=r"^rules\[0\] has an unknown key 'sttus'\.$"):
        sandbox.behave({"rules": [{"sttus": 500}]})
    assert post(sandbox, [event()]).status_code == 500
    assert requests.post(f"{sandbox.url}/behave", data=b"{", timeout=10).status_code == 400


def test_unknown_paths_and_methods(sandbox: Sandbox) -> None:
    assert requests.get(f"{sandbox.url}/nowhere", timeout=10).status_code == 404
    response = requests.put(f"{sandbox.url}/received", timeout=10)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, DELETE")


def test_the_page_shows_events_and_escapes_what_strangers_wrote(sandbox: Sandbox) -> None:
    post(sandbox, [event("<script>alert(1)</script>", custom_data={"value": "129.99", "currency": "USD"})])
    sandbox.behave({"rules": [{"status": 500}]})
    response = requests.get(sandbox.url, timeout=10)
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<script>" not in response.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in response.text
    assert "129.99 USD" in response.text
    assert 'href="/received"' in response.text
    assert "Rules of the script" in response.text
    assert "http://" not in response.text
    assert "https://" not in response.text
