"""How many requests a token may make."""

from freezegun import freeze_time

from tests.api.conftest import Api
from worker.api.throttle import SlidingWindow


def test_so_many_go_and_the_next_is_told_how_long_to_wait() -> None:
    now = [0.0]
    window = SlidingWindow(2, lambda: now[0])

    waits = []
    for at in (0.0, 10.0, 20.0, 59.0, 60.0, 61.0):
        now[0] = at
        waits.append(window.take("admin"))

    # The one at 0 leaves the window at 60, the one at 10 at 70; refused ones do not count.
    assert waits == [0.0, 0.0, 40.0, 1.0, 0.0, 9.0]


def test_tokens_do_not_use_up_each_others_share() -> None:
    window = SlidingWindow(1, lambda: 0.0)

    assert [window.take("one"), window.take("other"), window.take("one")] == [0.0, 0.0, 60.0]


def test_the_hundred_and_first_request_of_a_minute_is_refused(api: Api) -> None:
    with freeze_time("2026-01-29T14:53:20Z"):
        statuses = {api.call("GET", "/nothing").status_code for _ in range(100)}
        refused = api.call("GET", "/v1/admin/sources")

    assert {404} == statuses
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "60"
    error = {"code": "RATE_LIMITED", "message": "Limit of 100 requests a minute exceeded."}
    assert {"error": error} == refused.json


def test_strangers_do_not_use_up_the_tokens_share(api: Api) -> None:
    for _ in range(101):
        api.client.get("/v1/admin/sources")

    assert api.get("/v1/admin/sources")["data"] == []
