"""List, create and revoke API tokens."""

from sqlalchemy.exc import IntegrityError

from worker.ledger.setup import people
from worker.ledger.setup.people import Role, Token
from worker.operations.caller import Caller
from worker.operations.errors import DuplicateError, InvalidError, NotFoundError

_LONGEST_NAME = 64


def list_tokens(caller: Caller) -> list[Token]:
    """Return the valid API tokens, the oldest first; ADMIN_TOKEN is not one of them."""
    with caller.ledger.read() as connection:
        return people.valid_tokens(connection)


def create_token(caller: Caller, name: str, role: str) -> tuple[Token, str]:
    """Create an API token; return its description and the token itself, which cannot be shown again.

    Raises:
        InvalidError: the name is too long or empty, or there is no such role.
        DuplicateError: the name is taken.
    """
    name = name.strip()
    _check(name, role)
    try:
        with caller.changing() as change:
            token, text = people.insert_token(
                change.connection, change.vault, name, Role(role), change.actor, change.now
            )
            change.record("token.create", token.actor, {"role": [None, role]})
    except IntegrityError:
        raise DuplicateError(f"There is already a token named {name}.") from None
    return token, text


def revoke_token(caller: Caller, id_or_name: str) -> Token:
    """Revoke an API token and end its sessions at once; return what it was."""
    with caller.changing() as change:
        revoked = people.remove_token(change.connection, id_or_name)
        if revoked is None and (named := people.token_by_name(change.connection, id_or_name)):
            revoked = people.remove_token(change.connection, named.id)
        if revoked is None:
            raise NotFoundError("token", id_or_name)
        change.record("token.revoke", revoked.actor, {"role": [revoked.role.value, None]})
        return revoked


def _check(name: str, role: str) -> None:
    errors = {}
    if not 1 <= len(name) <= _LONGEST_NAME:
        errors["name"] = f"must be 1 to {_LONGEST_NAME} characters"
    if role not in list(Role):
        errors["role"] = f"must be one of: {', '.join(Role)}"
    if errors:
        raise InvalidError.of(errors)
