"""A walk over all pages: who gets in where, and what every answer says to the browser."""

import re

import pytest
from flask import Flask
from werkzeug.routing import Rule

from tests.pages.conftest import Pages
from worker.ledger.setup.integrations import Integration
from worker.pages.base import EDITORS_PAGES, OPEN_ENDPOINTS, OWNERS_PAGES, VIEWERS_FORMS

# They lead to Pinterest and back: tests/pages/test_pinterest_sign_in.py goes there.
CONNECTING = {"ui.connect_page", "ui.connect_finish_page", "ui.choose_account_page"}


def address(rule: Rule) -> str:
    values = {"number": "1", "login_id": "1", "action": "retry", "filename": "ui.css"}
    return re.sub(r"<(?:[^:>]+:)?([^>]+)>", lambda found: values.get(found[1], "src_x"), rule.rule)


def rules(app: Flask, method: str, but: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """Return the endpoints and addresses of the pages that take a method."""
    return [
        (rule.endpoint, address(rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("ui.") and method in (rule.methods or ()) and rule.endpoint not in but
    ]


def test_strangers_see_the_sign_in_page_and_nothing_else(app: Flask) -> None:
    client = app.test_client()
    asked = rules(app, "GET", OPEN_ENDPOINTS)
    answers = {path: client.get(path) for _, path in asked}

    assert len(answers) > 20
    assert {(303, "/sign-in") for _ in answers} == {
        (answer.status_code, answer.location.partition("?")[0]) for answer in answers.values()
    }


def test_an_unknown_address_is_a_page_for_browsers(app: Flask, pages: Pages) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for client, way_on in ((pages.client, "Back to the overview"), (app.test_client(), "Sign in")):
        answer = client.get("/no-such-page", headers=browser)
        assert (answer.status_code, answer.mimetype) == (404, "text/html")
        assert "There is no page at this address." in answer.text
        assert way_on in answer.text
        assert "style-src 'self'" in answer.headers["Content-Security-Policy"]
    assert app.test_client().get("/v1/admin/nothing", headers=browser).status_code == 401


def test_strangers_forms_are_refused(app: Flask) -> None:
    client = app.test_client()
    asked = rules(app, "POST", OPEN_ENDPOINTS)

    assert len(asked) > 10
    assert {client.post(path).status_code for _, path in asked} == {401}


def test_a_form_without_the_sessions_secret_is_refused_everywhere(app: Flask, pages: Pages) -> None:
    for _, path in rules(app, "POST", OPEN_ENDPOINTS):
        for data in ({}, {"csrf": ""}, {"csrf": "00" * 16}):
            answer = pages.client.post(path, data=data)
            assert answer.status_code == 403, path
            assert "does not belong to your session" in answer.text


def test_viewers_change_nothing(app: Flask, viewer: Pages) -> None:
    for endpoint, path in rules(app, "POST", OPEN_ENDPOINTS | VIEWERS_FORMS):
        answer = viewer.send(path)
        assert answer.status_code == 403, endpoint
        assert "Your role is viewer" in answer.text


def test_viewers_are_shown_no_form_that_they_could_not_send(app: Flask, viewer: Pages) -> None:
    paths = [path for endpoint, path in rules(app, "GET") if endpoint in EDITORS_PAGES]

    assert len(paths) == len(EDITORS_PAGES)
    for path in paths:
        answer = viewer.client.get(path)
        assert answer.status_code == 403, path
        assert "Your role is viewer" in answer.text


def test_only_owners_see_who_has_access(app: Flask, editor: Pages, viewer: Pages, pages: Pages) -> None:
    paths = [path for endpoint, path in rules(app, "GET") if endpoint in OWNERS_PAGES]

    assert len(paths) == 2
    assert [pages.client.get(path).status_code for path in paths] == [200, 200]
    assert [editor.client.get(path).status_code for path in paths] == [403, 403]
    assert [viewer.client.get(path).status_code for path in paths] == [403, 403]
    assert editor.send("/access", {"name": "Eve", "role": "owner"}).status_code == 403


@pytest.mark.parametrize("who", ["viewer", "editor", "pages"])
def test_every_page_opens_for_who_may_look(
    app: Flask, who: str, shop: Integration, request: pytest.FixtureRequest
) -> None:
    visitor: Pages = request.getfixturevalue(who)
    not_theirs = OWNERS_PAGES | (EDITORS_PAGES if who == "viewer" else frozenset())
    for endpoint, path in rules(
        app, "GET", OPEN_ENDPOINTS | not_theirs | CONNECTING | {"ui.event_page", "ui.event_input_page"}
    ):
        wanted = path.replace("/integrations/src_x", f"/integrations/{shop.id}")
        assert visitor.client.get(wanted.replace("src_x", "src_shop")).status_code == 200, endpoint


def test_what_is_not_there_is_a_page_too(pages: Pages) -> None:
    for path in (
        "/integrations/int_none",
        "/sources/src_none",
        "/events/7",
        "/events/inputs/7",
        "/integrations/int_none/delete",
    ):
        answer = pages.client.get(path)
        assert answer.status_code == 404, path
        assert "<h1>Error</h1>" in answer.text


def test_pages_load_nothing_from_elsewhere_and_stay_out_of_caches(
    app: Flask, pages: Pages, shop: Integration
) -> None:
    for _, path in rules(app, "GET", frozenset({"ui.static"})):
        answer = pages.client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; ")
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r'(?:src|<link[^>]* href)="(?:https?:)?//', answer.text)
        assert " style=" not in answer.text
        assert " onclick=" not in answer.text


def test_our_own_files_are_kept_by_browsers_until_they_change(pages: Pages) -> None:
    (address,) = re.findall(r'<link rel="stylesheet" href="([^"]+)"', pages.get("/"))
    with pages.client.get(address) as answer:
        assert "immutable" in answer.headers["Cache-Control"]
