"""Open and close the sessions of the Management UI."""

from worker.ledger.setup import people
from worker.operations.caller import Caller


def open_session(caller: Caller, token: str) -> str:
    """Open a session for a valid API token; return the value of the session cookie."""
    with caller.changing() as change:
        cookie = people.open_session(
            change.connection, change.vault, people.token_hash(change.vault, token), change.now
        )
        change.record("session.open", change.actor, {})
    return cookie


def close_session(caller: Caller, cookie: str) -> None:
    """Close the session of a cookie."""
    with caller.changing() as change:
        people.close_session(change.connection, change.vault, cookie)
        change.record("session.close", change.actor, {})
