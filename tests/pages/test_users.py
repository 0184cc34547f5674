"""Users on the pages: they are added, sign in, and are never locked out by the guesses of others."""

import threading
import time

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.pages.conftest import Pages, csrf_of
from worker.api.throttle import Lane, PasswordLanes
from worker.ledger.database import Ledger
from worker.ledger.setup import audit_log, user_access
from worker.operations.caller import Caller
from worker.operations.setup import users
from worker.pages.sign_in import MOST_WRONG_BY_ADDRESS

PASSWORD, OTHER = "correct horse battery", "staple correct horse"


@pytest.fixture(autouse=True)
def lanes(app: Flask) -> list[float]:
    """Note the pauses after wrong passwords instead of making them."""
    paused: list[float] = []
    app.extensions["signal-password-lanes"] = PasswordLanes(paused.append)
    return paused


@pytest.fixture
def anna(app: Flask, ledger: Ledger) -> Pages:
    users.create_user(Caller(ledger, "kim", time.time()), "Anna", "viewer", PASSWORD)
    return Pages(app.test_client())


def sign_in(pages: Pages, name: str = "Anna", password: str = PASSWORD) -> TestResponse:
    secret = csrf_of(pages.client.get("/sign-in").text)
    return pages.client.post("/sign-in", data={"csrf": secret, "name": name, "password": password})


def test_an_owner_adds_changes_and_removes_a_user_who_signs_in(
    pages: Pages, app: Flask, ledger: Ledger
) -> None:
    new = {"user_name": "Anna", "user_role": "viewer", "password": PASSWORD, "expires_at": "2999-12-31"}
    page = pages.follow(pages.send("/access/users", new))
    assert "2999-12-31 23:59:59 UTC" in page
    assert PASSWORD not in page
    anna = Pages(app.test_client())
    assert sign_in(anna, "anna").status_code == 303
    assert "Signed in as Anna (usr_" in anna.get("/")
    assert anna.client.get("/access").status_code == 403
    (user,) = users.list_users(Caller(ledger, "kim", time.time()))

    path = f"/access/users/{user.id}"
    untouched = {"expires_at": "2999-12-31", "expired_before": "2999-12-31"}
    pages.send(path, {"role": "owner", "password": ""} | untouched)
    assert "Anna" in anna.get("/access")
    anna.send(path, {"role": "editor", "expires_at": "", "expired_before": "2999-12-31"})
    assert anna.client.get("/access").status_code == 403
    pages.send(path, {"action": "disable"})
    assert anna.client.get("/").status_code == 303
    assert sign_in(anna).status_code == 401
    assert '<span class="tag">disabled</span>' in pages.get("/access")
    pages.send(path, {"action": "enable"})
    assert sign_in(anna).status_code == 303
    pages.send(path, {"action": "remove"})
    assert anna.client.get("/").status_code == 303
    with ledger.read() as connection:
        entries = audit_log.newest_audit_entries(connection, 20)
    changes = [(one["actor"], one["changes"]) for one in entries if one["action"] == "user.change"]
    assert [actor for actor, _ in changes] == ["admin", "admin", user.actor, "admin"]
    assert changes[2][1] == {
        "role": ["owner", "editor"],
        "expires_at": ["2999-12-31T23:59:59.000Z", None],
    }


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"user_name": " "}, "Must be 1 to 64 printable characters."),
        ({"user_name": "aNNa"}, "There is already a user named aNNa."),
        ({"user_role": "king"}, "Must be one of: viewer, editor, owner."),
        ({"password": "short"}, "Must have 12 to 128 characters."),
        ({"expires_at": "soon"}, "Must be a date like 2030-01-29."),
        ({"expires_at": "2020-01-29"}, "Must be in the future."),
    ],
)
def test_a_wrong_field_is_named_and_the_password_is_not_shown_again(
    pages: Pages, anna: Pages, wrong: dict[str, str], sentence: str
) -> None:
    right = {"user_name": "Eve", "user_role": "viewer", "password": OTHER, "expires_at": ""}
    answer = pages.send("/access/users", right | wrong)
    assert (answer.status_code, sentence in answer.text) == (422, True)
    assert OTHER not in answer.text


def test_a_user_changes_the_own_password_and_is_signed_out_everywhere(anna: Pages, app: Flask) -> None:
    other_browser = Pages(app.test_client())
    sign_in(anna)
    sign_in(other_browser)
    wrong = anna.send("/password", {"current": OTHER, "password": OTHER, "repeated": OTHER})
    assert (wrong.status_code, "Is not your password." in wrong.text) == (422, True)
    typo = anna.send("/password", {"current": PASSWORD, "password": OTHER, "repeated": "another"})
    assert "Must be the same as the new password." in typo.text
    done = anna.send("/password", {"current": PASSWORD, "password": OTHER, "repeated": OTHER})

    assert "Password changed. Sign in with the new one." in anna.follow(done)
    assert other_browser.client.get("/").status_code == 303
    assert sign_in(anna).status_code == 401
    assert sign_in(anna, password=OTHER).status_code == 303


def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(anna: Pages) -> None:
    answers = [sign_in(anna, *wrong) for wrong in (("Anna", OTHER), ("Eve", OTHER), ("Eve", PASSWORD))]
    assert {answer.status_code for answer in answers} == {401}
    pages = {answer.text.replace('value="Anna"', "").replace('value="Eve"', "") for answer in answers}
    assert len(pages) == 1
    assert "Wrong name or password." in pages.pop()


def test_guesses_from_one_address_are_slowed_down_and_the_right_password_is_accepted(
    anna: Pages, app: Flask, lanes: list[float]
) -> None:
    statuses = [sign_in(anna, password=OTHER).status_code for _ in range(MOST_WRONG_BY_ADDRESS + 2)]
    assert statuses == [401] * MOST_WRONG_BY_ADDRESS + [429] * 2
    assert lanes == [0.5] * MOST_WRONG_BY_ADDRESS + [1.0] * 2
    # From the same address, in a browser that is not known.
    assert sign_in(Pages(app.test_client())).status_code == 303


def test_while_guesses_fill_their_lane_a_known_browser_of_the_same_address_signs_in(
    anna: Pages, app: Flask
) -> None:
    assert sign_in(anna).status_code == 303
    cookie = anna.client.get_cookie("signal_known")
    assert cookie
    assert cookie.max_age
    anna.send("/sign-out")
    for _ in range(MOST_WRONG_BY_ADDRESS):
        sign_in(Pages(app.test_client()), password=OTHER)
    guesser_is_in, may_end = threading.Event(), threading.Event()

    def hold(_: float) -> None:
        guesser_is_in.set()
        assert may_end.wait(10)

    app.extensions["signal-password-lanes"] = PasswordLanes(hold)
    guess = threading.Thread(target=lambda: sign_in(Pages(app.test_client()), password=OTHER))
    guess.start()
    assert guesser_is_in.wait(10)
    full = sign_in(Pages(app.test_client()), password=OTHER)
    assert (full.status_code, full.headers["Retry-After"]) == (429, "3")
    # A cookie of another name opens no lane.
    assert sign_in(anna, "Eve").status_code == 429
    assert sign_in(anna).status_code == 303
    may_end.set()
    guess.join()


def test_a_lane_checks_one_password_at_a_time_and_never_stays_full() -> None:
    lanes, running, most = PasswordLanes(lambda _: None), [0], [0]

    def check() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.01)
        running[0] -= 1

    threads = [threading.Thread(target=lambda: lanes.check(Lane.OTHERS, check)) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert most == [1]
    with pytest.raises(ZeroDivisionError):
        lanes.check(Lane.OTHERS, lambda: 1 // 0)
    assert lanes.check(Lane.OTHERS, lambda: "found") == "found"


def test_a_token_still_signs_in_and_has_no_password(pages: Pages, ledger: Ledger) -> None:
    assert "You are signed in with a token, which has no password." in pages.get("/password")
    fields = {"current": PASSWORD, "password": PASSWORD, "repeated": PASSWORD}
    assert pages.send("/password", fields).status_code == 422
    with ledger.read() as connection:
        assert user_access.all_users(connection) == []
