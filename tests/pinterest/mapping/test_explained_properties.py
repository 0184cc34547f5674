"""The explanation of the mapping's decisions."""

import re

from tests.pinterest.conftest import browser, run, server, track
from tests.pinterest.test_golden import ORDER
from worker.pinterest.mapping.call import Explanation, Options
from worker.pinterest.user_data.visitor import Visitor


def explain(event: dict[str, object], show_personal: bool = False, **changes: object) -> str:
    explanation = Explanation(show_personal=show_personal)
    run(event, explain=explanation, **changes)
    return str(explanation)


def test_the_documented_checkout_is_explained(john: Visitor) -> None:
    event = track(
        "Order Completed",
        ORDER,
        timestamp="2024-01-29T14:53:20.000Z",
        context={
            "page": {"url": "https://example.com/checkout/confirmation"},
            "consent": {"advertising": True},
        },
    )
    received = browser(pin_unauth="a1b2c3d4", epik="epik_abc123def456")
    said = explain(
        event, received=received, visitor=john, options=Options(consent_categories=("advertising",))
    )
    assert said.splitlines() == EXPECTED.strip().splitlines()


EXPECTED = """
event     track call 'Order Completed', event id 'evt_1'
consent   given: consent to advertising was granted
time      happened at 2024-01-29 14:53:20 UTC
event     'Order Completed' is sent as checkout, by the built-in table
source    action_source web, as for all browser events
identity  client_ip_address and client_user_agent: the browser's own
identity  em: hashed at an earlier identify call
identity  _pin_unauth → click_id, from the cookie _pin_unauth
identity  epik → partner_id, from the cookie _epik
computed  num_items: 3, the products' quantities added up
renamed   total → value: 129.99
renamed   currency → currency: USD
renamed   order_id → order_id: ORD-001
renamed   products → contents, content_ids: 2 products
payload   accepted by Pinterest's contract
"""


def test_the_explanation_names_what_is_not_sent(john: Visitor) -> None:
    said = explain(
        track("Product Added", {"product_id": "A", "colour": "red", "lead_type": "x"}), visitor=john
    )
    assert "dropped   properties without a field at Pinterest: colour, lead_type" in said


def test_raw_personal_data_is_shown_only_on_request() -> None:
    event = track("Lead", traits={"email": "john.doe@example.com", "phone": "not a phone"}, userId="john-7")
    assert not re.search("john|not a phone", explain(event, received=server()))
    shown = explain(event, show_personal=True, received=server())
    assert "'john.doe@example.com'" in shown
    assert "'not a phone'" in shown
