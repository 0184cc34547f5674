"""Tell when access tokens end, as far as their integrations say so."""

from sqlalchemy import Connection

from worker.event.times import parse_time
from worker.ledger.setup import integrations

_SECONDS_PER_DAY = 86_400
# Long enough to ask somebody who has the rights at Pinterest, and is on holiday.
_SOON_SECONDS = 14 * _SECONDS_PER_DAY
WHAT_TO_DO = "give its integration a new one, on its page or by PATCH; nothing is lost until then"


def ends_by_credential(connection: Connection) -> dict[int, float]:
    """Return when the token of each credential ends, in Unix seconds; of several dates the earliest."""
    found: dict[int, float] = {}
    for one in integrations.iterate_integrations(connection):
        end = parse_time(one.config.get("token_expires_at"))
        if end is not None:
            found[one.credential_id] = min(end, found.get(one.credential_id, end))
    return found


def ends_soon(end: float, now: float) -> bool:
    """Tell whether a token needs a hand now."""
    return end - now <= _SOON_SECONDS


def describe_token_end(end: float, now: float) -> str:
    """Say how long a token lasts, and what to do where that is not long."""
    days = int(abs(end - now) // _SECONDS_PER_DAY)
    span = "less than a day" if days == 0 else "1 day" if days == 1 else f"{days:,} days"
    when = f"ends in {span}" if end > now else f"ended {span} ago"
    return f"the access token {when}: {WHAT_TO_DO}" if ends_soon(end, now) else f"the access token {when}"
