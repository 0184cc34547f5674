"""Sign-ins stay fresh and scores are read, with a fake clock, rotation, refusals and two workers at once."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from tests.ledger.shop import place
from worker.alerts.rule_figures import gather_figures
from worker.alerts.rules import find_problems
from worker.dev.sandbox.http_server import Request, Response
from worker.dev.sandbox.routes import App
from worker.dev.sandbox.server import Sandbox, sandbox_in_thread
from worker.ledger.database import Ledger
from worker.ledger.schema import metadata
from worker.ledger.setup import pinterest_connections
from worker.ledger.setup.pinterest_connections import Login
from worker.pinterest.client.account_client import AccountApiError, AccountClient
from worker.pipeline.upkeep.account_reading import _NO_APP, read_pinterest

BACK = "http://127.0.0.1:8084/integrations/connect/back"
ACCOUNT, OTHER = "549755885175", "549755885176"
DAY = 86_400.0


class Pinterest:
    """A sandbox whose clock a test moves, and that counts its requests."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0
        self.requests: Counter[str] = Counter()
        self.app = App(clock=lambda: self.now)
        self.sandbox: Sandbox
        self.client: AccountClient

    def __call__(self, request: Request) -> Response:
        self.requests[request.path.rpartition("/")[2]] += 1
        return self.app(request)

    def clock(self) -> float:
        return self.now

    def behave(self, **account_api: Any) -> None:
        self.sandbox.behave({"account_api": account_api})

    def sign_in(self) -> dict[str, Any]:
        query = parse_qs(urlsplit(self.client.sign_in_url(BACK, "s")).query)
        asked = {name: values[0] for name, values in query.items()} | {"choice": "give"}
        location = self.app(Request("GET", "/oauth/", asked, {}, b"")).headers["Location"]
        (code,) = parse_qs(urlsplit(location).query)["code"]
        return asdict(self.client.tokens(code=code, redirect_uri=BACK))


@pytest.fixture
def pinterest() -> Iterator[Pinterest]:
    made = Pinterest()
    with sandbox_in_thread(made) as made.sandbox:  # type: ignore[arg-type]  # it is called like the app
        made.client = AccountClient(made.sandbox.url, "app", "secret")
        yield made


@pytest.fixture
def login_id(ledger: Ledger, pinterest: Pinterest) -> int:
    """Sign in, and read two ad accounts by it."""
    tokens = pinterest.sign_in()
    with ledger.write() as connection:
        made = pinterest_connections.insert_login(connection, ledger.vault, "Anna", pinterest.now, **tokens)
    for account in (ACCOUNT, OTHER):
        attach(ledger, pinterest, place(ledger, ad_account_id=account).ad_account, made)
    return made


def attach(ledger: Ledger, pinterest: Pinterest, account: int, login_id: int) -> None:
    facts = {"name": "Shop", "country": "DE", "currency": "EUR", "time_zone": "Europe/Berlin"}
    with ledger.write() as connection:
        pinterest_connections.attach_reading(connection, account, login_id, pinterest.now, **facts)


def run(ledger: Ledger, pinterest: Pinterest, *, seconds: float = 0) -> None:
    pinterest.now += seconds
    read_pinterest(ledger, pinterest.client, pinterest.clock)


def load(ledger: Ledger, login_id: int) -> Login:
    with ledger.read() as connection:
        found = pinterest_connections.load_login(connection, ledger.vault, login_id)
    assert found
    return found


def problems(ledger: Ledger) -> dict[str, str | None]:
    with ledger.read() as connection:
        return {one.ad_account_id: one.problem for one in pinterest_connections.readings(connection)}


def test_tokens_are_refreshed_long_before_they_end_again_and_again(
    ledger: Ledger, pinterest: Pinterest, login_id: int
) -> None:
    first = load(ledger, login_id)
    run(ledger, pinterest, seconds=19 * DAY)
    assert load(ledger, login_id) == first
    # Three months: longer than the first refresh token lasts.
    for _ in range(9):
        run(ledger, pinterest, seconds=10 * DAY)
    last = load(ledger, login_id)
    assert (last.problem, last.version) == (None, 6)
    assert last.refresh_token != first.refresh_token
    assert list(pinterest.client.ad_accounts(last.access_token))
    assert problems(ledger) == {ACCOUNT: None, OTHER: None}


def test_of_two_refreshers_at_once_one_asks_pinterest_and_nothing_is_lost(
    ledger: Ledger, pinterest: Pinterest, login_id: int
) -> None:
    pinterest.now += 25 * DAY
    together = threading.Barrier(2)

    def refresh() -> None:
        together.wait()
        read_pinterest(ledger, pinterest.client, pinterest.clock)

    threads = [threading.Thread(target=refresh) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # One for signing in, one for the refresh.
    assert pinterest.requests["token"] == 2
    found = load(ledger, login_id)
    assert (found.version, found.problem) == (2, None)
    pinterest.client.tokens(refresh_token=found.refresh_token)


def test_a_refresher_that_was_slow_changes_nothing_that_a_faster_one_has_stored(
    ledger: Ledger, pinterest: Pinterest, login_id: int
) -> None:
    pinterest.now += 25 * DAY
    with ledger.write() as connection:
        slow = pinterest_connections.claim_refresh(connection, ledger.vault, pinterest.now, 120)
    assert slow
    run(ledger, pinterest, seconds=121)
    stored = load(ledger, login_id)
    assert stored.version == 2
    with pytest.raises(AccountApiError) as refused:
        pinterest.client.tokens(refresh_token=slow.refresh_token)
    with ledger.write() as connection:
        pinterest_connections.postpone_refresh(connection, slow, pinterest.now, str(refused.value))
        tokens = asdict(pinterest.client.tokens(refresh_token=stored.refresh_token))
        late = pinterest_connections.replace_tokens(
            connection, ledger.vault, slow.id, pinterest.now, version=slow.version, **tokens
        )
    assert not late
    assert load(ledger, login_id) == stored


@pytest.mark.parametrize(
    ("answer", "words", "wait_seconds"),
    [
        ({"status": 400, "message": "Invalid."}, "Pinterest answered HTTP 400: Invalid.", 900),
        ({"status": 401}, "Pinterest answered HTTP 401: Authentication failed.", 900),
        ({"status": 500}, "Pinterest answered HTTP 500: An unexpected error occurred.", 900),
        (
            {"status": 429, "headers": {"Retry-After": "3000"}},
            "Pinterest answered HTTP 429: This request exceeded a rate limit.",
            3_000,
        ),
    ],
    ids=lambda value: str(value.get("status")) if isinstance(value, dict) else "",
)
def test_a_refresh_that_fails_is_shown_tried_again_and_over_with_the_next_success(
    ledger: Ledger, pinterest: Pinterest, login_id: int, answer: Any, words: str, wait_seconds: float
) -> None:
    pinterest.behave(answers=[{"call": "token", "times": 1, **answer}])
    run(ledger, pinterest, seconds=25 * DAY)
    assert load(ledger, login_id).problem == words
    run(ledger, pinterest, seconds=wait_seconds - 1)
    assert load(ledger, login_id).version == 1
    run(ledger, pinterest, seconds=1)
    assert (load(ledger, login_id).version, load(ledger, login_id).problem) == (2, None)


def test_a_revoked_sign_in_asks_to_connect_again_and_that_keeps_the_accounts(
    ledger: Ledger, pinterest: Pinterest, login_id: int
) -> None:
    pinterest.behave(revoked=True)
    run(ledger, pinterest)
    assert problems(ledger)[ACCOUNT] == "Pinterest answered HTTP 401: Authentication failed."
    run(ledger, pinterest, seconds=1)
    problem = load(ledger, login_id).problem or ""
    assert problem.startswith("Pinterest answered HTTP 400: The code or refresh token is invalid")
    with ledger.read() as connection:
        figures = gather_figures(connection, 0, pinterest.now)
    assert figures.sign_ins == {ACCOUNT: problem, OTHER: problem}
    pinterest.behave()
    tokens = pinterest.sign_in()
    with ledger.write() as connection:
        pinterest_connections.replace_tokens(
            connection, ledger.vault, login_id, pinterest.now, actor="Ben", **tokens
        )
    run(ledger, pinterest, seconds=900)
    assert problems(ledger) == {ACCOUNT: None, OTHER: None}
    assert (load(ledger, login_id).problem, load(ledger, login_id).connected_by) == (None, "Ben")


def test_without_an_app_the_problem_says_so(ledger: Ledger, pinterest: Pinterest, login_id: int) -> None:
    pinterest.now += 25 * DAY
    read_pinterest(ledger, None, pinterest.clock)
    assert load(ledger, login_id).problem == _NO_APP


def test_lost_rights_to_one_ad_account_leave_the_other_one(
    ledger: Ledger, pinterest: Pinterest, login_id: int
) -> None:
    pinterest.behave(ad_accounts=[{"id": OTHER, "name": "Other"}])
    run(ledger, pinterest)
    assert problems(ledger) == {
        ACCOUNT: "Pinterest answered HTTP 403: You are not permitted to access that resource.",
        OTHER: None,
    }
    assert load(ledger, login_id).problem is None


def test_a_rate_limit_stops_every_ad_account_of_the_sign_in_as_long_as_pinterest_says(
    ledger: Ledger, pinterest: Pinterest, login_id: int
) -> None:
    limit = {"call": "conversion_eqs", "status": 429, "headers": {"Retry-After": "3000"}}
    pinterest.behave(answers=[limit])
    run(ledger, pinterest)
    run(ledger, pinterest, seconds=2_999)
    assert pinterest.requests["conversion_eqs"] == 1
    run(ledger, pinterest, seconds=1)
    assert pinterest.requests["conversion_eqs"] == 5
    assert problems(ledger) == {ACCOUNT: None, OTHER: None}
    assert load(ledger, login_id)


def test_scores_are_a_history_with_the_newest_of_each_day(
    ledger: Ledger, pinterest: Pinterest, login_id: int
) -> None:
    score = {
        "source_platform": "WEB",
        "ingestion_source": "CONVERSIONS_API",
        "lookback_period": "14d",
        "quality_components": {"hashed_email": {"checkout": {"coverage": 41.5, "issues": [None]}, "lead": 7}},
    }
    for status, seconds in (("GOOD", 0), ("FAIR", DAY), ("NEEDS_IMPROVEMENT", 6 * 3_600)):
        pinterest.behave(scores={ACCOUNT: [score | {"overall_status": status}], OTHER: []})
        run(ledger, pinterest, seconds=seconds)
    today, key = int(pinterest.now // DAY), (ACCOUNT, "WEB", "CONVERSIONS_API")
    with ledger.read() as connection:
        statuses = pinterest_connections.statuses_since(connection, today - 30)
        newest = pinterest_connections.newest_scores(connection)
        figures = gather_figures(connection, 0, pinterest.now)
    assert [one.subject for one in find_problems(figures) if one.rule == "quality_score_fell"] == [
        ":".join(key)
    ]
    assert statuses == {key: {today - 1: "GOOD", today: "NEEDS_IMPROVEMENT"}}
    details = {"coverage": 41.5, "overlap": None, "issues": []}
    assert [one.components for one in newest] == [{"hashed_email": {"checkout": details}}]
    assert load(ledger, login_id)


def test_no_token_is_in_a_table_in_clear(ledger: Ledger, pinterest: Pinterest, login_id: int) -> None:
    found = load(ledger, login_id)
    with ledger.read() as connection:
        rows = [row for table in metadata.sorted_tables for row in connection.execute(select(table))]
    text = repr(rows) + repr(found)
    assert found.access_token.startswith("pina_")
    assert found.refresh_token.startswith("pinr_")
    assert "pina_" not in text.replace("pina_the_token_of_the_shop", "")
    assert "pinr_" not in text
    assert json.loads(json.dumps(asdict(found)))["access_token"] == found.access_token
