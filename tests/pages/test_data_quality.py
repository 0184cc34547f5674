"""The page of a source's data quality, and its button that maps a name to checkout."""

from collections.abc import Callable

import pytest

from tests.operations.conftest import make_world
from tests.operations.surfaces import World
from tests.operations.test_data_quality import ORDER, Shop, note
from worker.event.problems import FoundProblem, Problem
from worker.ledger.delivery.find_deliveries import find_after

# pytest finds fixtures by the names in this module.
__all__ = ["make_world"]


def test_without_a_choice_the_page_shows_the_first_source(make_world: Callable[[], World]) -> None:
    page = make_world().pages.get("/data-quality")
    assert '<option value="src_other" selected>' in page


def test_a_name_that_looks_like_a_checkout_is_mapped_in_one_click(make_world: Callable[[], World]) -> None:
    world = make_world()
    note(world, FoundProblem(Problem.LOOKS_LIKE_CHECKOUT, "it has a value and an order id"))
    page = world.pages.get("/data-quality?source_id=src_shop")
    assert "Send “Bestellung” as checkout by shop" in page
    form = {"integration_id": world.integrations["shop"], "event_name": "Bestellung"}
    before = len(world.audited())
    answer = world.pages.send("/data-quality/checkout", form)
    assert "Saved: new events of this name are sent as checkout." in world.pages.follow(answer)

    changes = {"config.event_overrides": [None, {"Bestellung": "checkout"}]}
    assert world.audited()[before:] == [("admin", "integration.change", "int_*", changes)]
    assert "Send “Bestellung” as checkout" not in world.pages.get("/data-quality?source_id=src_shop")
    shop = Shop(world)
    shop.track("bestellung", ORDER | {"order_id": "9"}, messageId="now")
    with world.ledger.read() as connection:
        found = {one.event_id: one.event_name for one in find_after(connection, 0, 9)}
    assert found["now"] == "checkout"


@pytest.mark.parametrize("name", ["bestellung", "BESTELLUNG ", "", "x" * 300])
def test_a_name_with_a_rule_and_what_is_no_name_are_refused(
    make_world: Callable[[], World], name: str
) -> None:
    world = make_world()
    path = f"/v1/admin/integrations/{world.integrations['shop']}"
    world.api.change(path, {"config": {"event_overrides": {"Bestellung": "drop"}}})
    before = world.state()
    answer = world.pages.send(
        "/data-quality/checkout", {"integration_id": world.integrations["shop"], "event_name": name}
    )
    assert answer.status_code == 422
    assert world.state() == before


def test_viewers_see_no_button_and_cannot_send_its_form(make_world: Callable[[], World]) -> None:
    world = make_world()
    note(world, FoundProblem(Problem.LOOKS_LIKE_CHECKOUT))
    token = world.shell("tokens", "create", "Ben", "--role", "viewer").split()[-1]
    world.pages.client.delete_cookie("signal_session")
    world.pages.sign_in(token)
    assert "as checkout by" not in world.pages.get("/data-quality?source_id=src_shop")
    form = {"integration_id": world.integrations["shop"], "event_name": "Bestellung"}
    assert world.pages.send("/data-quality/checkout", form).status_code == 403
