"""An event is explained line by line, and what is not an event is refused."""

import json

import pytest

from tests.pages.conftest import Pages
from worker.ledger.setup.integrations import Integration
from worker.pages.routes.explain import _EXAMPLE


@pytest.mark.parametrize("source_id", ["", "src_shop"])
def test_the_example_is_explained_line_by_line(viewer: Pages, shop: Integration, source_id: str) -> None:
    fields = {"event": _EXAMPLE, "source_id": source_id, "channel": "browser"}
    page = viewer.send("/explain", fields, page="/explain").text

    assert "Event 1: Order Completed" in page
    assert "would be sent</span>" in page
    assert "&#34;value&#34;: &#34;129.99&#34;" in page


def test_an_event_without_a_type_is_a_track_call(viewer: Pages) -> None:
    event = json.dumps({"event": "Signed Up", "context": {"consent": {"advertising": True}}})
    page = viewer.send("/explain", {"event": event, "channel": "browser"}, page="/explain").text
    assert "Event 1: Signed Up" in page


@pytest.mark.parametrize(
    "event",
    ["", "{", "[]", '{"type": "nonsense"}', json.dumps({"batch": [{"type": "page"}] * 101}), "[" * 9_999],
)
def test_what_is_no_event_is_said_in_a_sentence(pages: Pages, event: str) -> None:
    answer = pages.send("/explain", {"event": event, "channel": "browser"})

    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
