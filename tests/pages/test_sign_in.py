"""Signing in and out, with a token or a password, and what a session is worth."""

import threading
import time

import pytest
from flask import Flask
from freezegun import freeze_time

from tests.api.conftest import TOKEN
from tests.pages.conftest import OTHER_PASSWORD, PASSWORD, Pages, csrf_of, made_token, sign_in_user
from worker.api import auth
from worker.api.throttle import Lane, PasswordLanes
from worker.ledger.database import Ledger
from worker.ledger.setup import access
from worker.ledger.setup.access import Role
from worker.pages.routes.sign_in import _MOST_WRONG_BY_ADDRESS
from worker.retention import SESSION_SECONDS
from worker.settings import Settings
from worker.web.management import create_app


def test_the_token_of_the_environment_signs_the_owner_in(stranger: Pages) -> None:
    answer = stranger.sign_in()

    assert (answer.status_code, answer.location) == (303, "/")
    assert "Signed in as admin (owner)" in stranger.get("/")


def test_the_cookie_is_for_this_site_and_for_no_script(stranger: Pages) -> None:
    cookie = stranger.sign_in().headers["Set-Cookie"]

    assert cookie.startswith("signal_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie


def test_over_https_the_cookie_never_goes_out_in_clear(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/sign-in", base_url="https://localhost")
    data = {"csrf": csrf_of(page.text), "token": TOKEN}
    answer = client.post("/sign-in", data=data, base_url="https://localhost")

    assert "Secure" in answer.headers["Set-Cookie"]


def test_a_wrong_token_is_refused_and_not_shown_again(stranger: Pages) -> None:
    answer = stranger.sign_in("a wrong token")

    assert answer.status_code == 401
    assert "Invalid token." in answer.text
    assert "a wrong token" not in answer.text


def test_too_many_wrong_tokens_are_slowed_down_and_the_right_one_is_accepted(stranger: Pages) -> None:
    for _ in range(_MOST_WRONG_BY_ADDRESS):
        assert stranger.sign_in("wrong").status_code == 401

    answer = stranger.sign_in("wrong")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert "Wait 15 minutes, or enter a valid token" in answer.text
    assert stranger.sign_in().status_code == 303


def test_strangers_on_many_addresses_lock_nobody_out(app: Flask) -> None:
    for number in range(120):
        guesser = Pages(app.test_client())
        guesser.client.environ_base["REMOTE_ADDR"] = f"198.51.100.{number}"
        guesser.sign_in("wrong")

    owner = Pages(app.test_client())
    owner.client.environ_base["REMOTE_ADDR"] = "192.0.2.77"
    assert owner.sign_in().status_code == 303


def test_a_form_of_another_site_signs_nobody_in(app: Flask) -> None:
    client = app.test_client()
    client.get("/sign-in")

    assert client.post("/sign-in", data={"token": TOKEN}).status_code == 403
    assert client.post("/sign-in", data={"token": TOKEN, "csrf": "made up"}).status_code == 403


@pytest.mark.parametrize(
    ("wanted", "goes_to"),
    [
        ("/failed?reason_class=refused", "/failed?reason_class=refused"),
        ("https://example.com/", "/"),
        ("//example.com/", "/"),
        ("/\\example.com/", "/"),
        ("/\t/example.com/", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_back_to_the_page_that_was_asked_for_and_nowhere_else(
    stranger: Pages, wanted: str, goes_to: str
) -> None:
    assert stranger.sign_in(next=wanted).location == goes_to


def test_a_page_asked_for_without_a_session_is_remembered(stranger: Pages) -> None:
    answer = stranger.client.get("/failed?event_name=checkout")

    assert (answer.status_code, answer.location) == (303, "/sign-in?next=/failed?event_name%3Dcheckout")


def test_signing_out_ends_the_session_also_for_a_copy_of_the_cookie(pages: Pages, app: Flask) -> None:
    cookie = pages.client.get_cookie(auth.SESSION_COOKIE)
    assert cookie
    pages.send("/sign-out")

    copy = app.test_client()
    copy.set_cookie(auth.SESSION_COOKIE, cookie.value)
    assert copy.get("/").status_code == 303


def test_a_session_ends_by_itself(pages: Pages) -> None:
    with freeze_time(time.strftime("%Y-%m-%d", time.gmtime(time.time() + SESSION_SECONDS + 86_400))):
        assert pages.client.get("/").status_code == 303


def test_a_form_sent_after_the_end_changes_nothing_and_says_so(pages: Pages, ledger: Ledger) -> None:
    pages.client.delete_cookie(auth.SESSION_COOKIE)
    answer = pages.client.post("/sources/add", data={"name": "Shop"})

    assert answer.status_code == 401
    assert "Your session has ended. Nothing was changed." in answer.text


def test_a_session_ends_with_its_token(app: Flask, ledger: Ledger) -> None:
    pages = Pages(app.test_client())
    pages.sign_in(made_token(ledger, Role.EDITOR))
    assert "Signed in as Anna" in pages.get("/")
    with ledger.write() as connection:
        access.remove_token(connection, access.valid_tokens(connection)[0].id)

    assert pages.client.get("/").status_code == 303


def test_a_new_token_of_the_environment_ends_the_owners_sessions(
    pages: Pages, ledger: Ledger, settings: Settings
) -> None:
    from dataclasses import replace

    cookie = pages.client.get_cookie(auth.SESSION_COOKIE)
    assert cookie
    restarted = create_app(ledger, replace(settings, admin_token="another-token-than-before")).test_client()
    restarted.set_cookie(auth.SESSION_COOKIE, cookie.value)

    assert restarted.get("/").status_code == 303


def test_a_session_opens_the_apis_description(pages: Pages) -> None:
    assert pages.client.get("/v1/admin/docs/").status_code == 200


def test_a_session_is_no_way_into_the_api_itself(pages: Pages) -> None:
    assert pages.client.get("/v1/admin/sources").status_code == 401


def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(anna: Pages) -> None:
    answers = [
        sign_in_user(anna, *wrong)
        for wrong in (("Anna", OTHER_PASSWORD), ("Eve", OTHER_PASSWORD), ("Eve", PASSWORD))
    ]
    assert {answer.status_code for answer in answers} == {401}
    pages = {answer.text.replace('value="Anna"', "").replace('value="Eve"', "") for answer in answers}
    assert len(pages) == 1
    assert "Wrong name or password." in pages.pop()


def test_guesses_from_one_address_are_slowed_down_and_the_right_password_is_accepted(
    anna: Pages, app: Flask, lanes: list[float]
) -> None:
    statuses = [
        sign_in_user(anna, password=OTHER_PASSWORD).status_code for _ in range(_MOST_WRONG_BY_ADDRESS + 2)
    ]
    assert statuses == [401] * _MOST_WRONG_BY_ADDRESS + [429] * 2
    assert lanes == [0.5] * _MOST_WRONG_BY_ADDRESS + [1.0] * 2
    # From the same address, in a browser that is not known.
    assert sign_in_user(Pages(app.test_client())).status_code == 303


def test_while_guesses_fill_their_lane_a_known_browser_of_the_same_address_signs_in(
    anna: Pages, app: Flask
) -> None:
    assert sign_in_user(anna).status_code == 303
    cookie = anna.client.get_cookie("signal_known")
    assert cookie
    assert cookie.max_age
    anna.send("/sign-out")
    for _ in range(_MOST_WRONG_BY_ADDRESS):
        sign_in_user(Pages(app.test_client()), password=OTHER_PASSWORD)
    guesser_is_in, may_end = threading.Event(), threading.Event()

    def hold(_: float) -> None:
        guesser_is_in.set()
        assert may_end.wait(10)

    app.extensions["signal-password-lanes"] = PasswordLanes(hold)
    guess = threading.Thread(target=lambda: sign_in_user(Pages(app.test_client()), password=OTHER_PASSWORD))
    guess.start()
    assert guesser_is_in.wait(10)
    full = sign_in_user(Pages(app.test_client()), password=OTHER_PASSWORD)
    assert (full.status_code, full.headers["Retry-After"]) == (429, "3")
    # A cookie of another name opens no lane.
    assert sign_in_user(anna, "Eve").status_code == 429
    assert sign_in_user(anna).status_code == 303
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
