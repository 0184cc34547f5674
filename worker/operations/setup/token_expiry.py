"""When access tokens expire, as far as their integrations say."""

from sqlalchemy import Connection

from worker.event.times import parse_time
from worker.formats import count_text
from worker.ledger.setup import integrations

_SECONDS_PER_DAY = 86_400
# Long enough to reach the person who has the rights at Pinterest.
_SOON_SECONDS = 14 * _SECONDS_PER_DAY
_WHAT_TO_DO = "Enter a new one on the integration's page or with PATCH. No event is lost until then."


def ends_by_credential(connection: Connection) -> dict[int, float]:
    """Return when the token of each credential expires, in Unix seconds: the earliest date of its integrations."""
    ends: dict[int, float] = {}
    for integration in integrations.iterate_integrations(connection):
        end = parse_time(integration.config.get("token_expires_at"))
        if end is not None:
            ends[integration.credential_id] = min(end, ends.get(integration.credential_id, end))
    return ends


def ends_soon(end: float, now: float) -> bool:
    """Say whether a token should be replaced now."""
    return end - now <= _SOON_SECONDS


def describe_token_end(end: float, now: float) -> str:
    """Return how long a token lasts as text, with advice if it ends soon."""
    days = int(abs(end - now) // _SECONDS_PER_DAY)
    span = "less than a day" if days == 0 else count_text(days, "day")
    when = f"expires in {span}" if end > now else f"expired {span} ago"
    return f"the access token {when}. {_WHAT_TO_DO}" if ends_soon(end, now) else f"the access token {when}"
