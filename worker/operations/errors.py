"""Errors that operations raise. Each surface maps them to a status or an exit code in one place."""

from collections.abc import Mapping
from typing import Self

_LONGEST_NAME = 100


class OperationError(Exception):
    """Refuse an operation; the message is a sentence for the person who asked for it."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class NotFoundError(OperationError):
    """Refuse an operation on something that does not exist."""

    def __init__(self, kind: str, name: str) -> None:
        # The name is the caller's: it may be of any length.
        text = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        super().__init__(f"There is no {kind} {text}.")


class ConflictError(OperationError):
    """Refuse an operation that the current state does not allow."""


class DuplicateError(ConflictError):
    """Refuse a second object where only one may exist."""


class InvalidError(OperationError):
    """Refuse invalid arguments; ``errors`` maps the dotted path of each field to what is wrong with it."""

    def __init__(self, field: str, message: str) -> None:
        self.errors: Mapping[str, str] = {field: message}
        super().__init__(f"{field}: {message.rstrip('.')}")

    @classmethod
    def of(cls, errors: Mapping[str, str]) -> Self:
        """Make one error for several fields; there must be at least one field."""
        error = cls(*next(iter(errors.items())))
        error.errors = dict(errors)
        error.message = "; ".join(f"{field}: {message.rstrip('.')}" for field, message in errors.items())
        error.args = (error.message,)
        return error
