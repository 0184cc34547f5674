"""A walk over all pages: what opens, and what every answer says to the browser."""

import re

import pytest
from flask import Flask
from werkzeug.routing import Rule

from tests.pages.conftest import Pages
from worker.ledger.setup.integrations import Integration
from worker.pages.base import _EDITORS_PAGES, _OPEN_ENDPOINTS, _OWNERS_PAGES

# They lead to Pinterest and back: tests/pages/test_connect.py goes there.
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


@pytest.mark.parametrize("who", ["viewer", "editor", "pages"])
def test_every_page_opens_for_who_may_look(
    app: Flask, who: str, shop: Integration, request: pytest.FixtureRequest
) -> None:
    visitor: Pages = request.getfixturevalue(who)
    not_theirs = _OWNERS_PAGES | (_EDITORS_PAGES if who == "viewer" else frozenset())
    for endpoint, path in rules(
        app, "GET", _OPEN_ENDPOINTS | not_theirs | CONNECTING | {"ui.event_page", "ui.event_input_page"}
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


# SQLite's and PostgreSQL's numbers end before the first one.
@pytest.mark.parametrize("number", [2**63, 10**40, "x"])
def test_a_number_that_no_row_has_is_not_found_or_passed_over(
    pages: Pages, shop: Integration, number: int | str
) -> None:
    statuses = {
        path: pages.client.get(f"{path}{number}").status_code
        for path in (
            "/audit?before=",
            "/orders?before=",
            "/failed?event_name=checkout&after=",
            "/events/",
            "/events/inputs/",
        )
    }
    statuses["connect"] = pages.client.get(f"/integrations/connect/{number}").status_code
    statuses["retry"] = pages.send("/failed/retry", {"everything": "yes", "after": number}).status_code
    assert {status for status in statuses.values() if status >= 500} == set(), statuses


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


@pytest.mark.parametrize("path", ["/search?q=%00", "/events?text=a%00", "/failed?event_name=%00"])
def test_a_character_that_cannot_be_stored_is_refused_with_a_sentence(pages: Pages, path: str) -> None:
    answer = pages.client.get(path)
    assert answer.status_code == 422
    assert "The character U+0000 is not allowed." in answer.text
