"""Open and close the sessions of the Management UI."""

from worker.ledger.setup import people
from worker.operations.caller import Caller


def open_session(caller: Caller, key: bytes) -> str:
    """Open a session for the hash of a valid API token or the session key of a user; return the cookie's value."""
    with caller.changing() as change:
        cookie = people.open_session(change.connection, change.vault, key, change.now)
        change.record("session.open", change.actor, {})
    return cookie


def close_session(caller: Caller, cookie: str) -> None:
    """Close the session of a cookie."""
    with caller.changing() as change:
        people.close_session(change.connection, change.vault, cookie)
        change.record("session.close", change.actor, {})
