"""When an access token ends is said in days, with what to do while there is time."""

import pytest

from tests.ledger.shop import NOW, place
from worker.ledger.database import Ledger
from worker.operations.setup.token_expiry import (
    _WHAT_TO_DO,
    describe_token_end,
    ends_by_credential,
    ends_soon,
)

DAY = 86_400


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (30, "the access token expires in 30 days"),
        (14, f"the access token expires in 14 days. {_WHAT_TO_DO}"),
        (1, f"the access token expires in 1 day. {_WHAT_TO_DO}"),
        (0.5, f"the access token expires in less than a day. {_WHAT_TO_DO}"),
        (0, f"the access token expired less than a day ago. {_WHAT_TO_DO}"),
        (-3, f"the access token expired 3 days ago. {_WHAT_TO_DO}"),
    ],
)
def test_the_words(days: float, said: str) -> None:
    assert describe_token_end(NOW + days * DAY, NOW) == said
    assert ends_soon(NOW + days * DAY, NOW) == (_WHAT_TO_DO in said)


def test_of_two_integrations_with_one_token_the_earlier_end_counts(ledger: Ledger) -> None:
    place(ledger, "src_a", token_expires_at="2030-01-29T00:00:00Z")
    shop = place(ledger, "src_b", token_expires_at="2030-01-02T00:00:00Z")
    place(ledger, "src_c", ad_account_id="42")
    with ledger.read() as connection:
        assert ends_by_credential(connection) == {shop.credential_id: 1_893_542_400.0}
