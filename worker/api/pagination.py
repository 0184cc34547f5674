"""Answer lists page by page."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from marshmallow import fields

from worker.api.errors import invalid_field_error
from worker.api.fields import Boolean, ListOf, Nested, Shape, Text, between
from worker.ledger.rows import LARGEST_ID

_MOST_ON_A_PAGE = 100

_T = TypeVar("_T")


class PageQuery(Shape):
    """Choose a page of a list."""

    cursor = Text(metadata={"description": "`next_cursor` of the page before."})
    limit = fields.Integer(
        load_default=50,
        validate=between(1, _MOST_ON_A_PAGE),
        error_messages={"invalid": "must be a whole number"},
    )


def page_of(item: type[Shape]) -> type[Shape]:
    """Make the shape of a page of a list."""
    shape: type[Shape] = Shape.from_dict(
        {
            "data": ListOf(Nested(item)),
            "next_cursor": Text(allow_none=True, metadata={"description": "Null on the last page."}),
            "has_more": Boolean(),
        },
        name=f"{item.__name__}Page",
    )  # type: ignore[assignment]  # It is made from the class that it is called on.
    return shape


def page_answer(
    rows: Sequence[_T], limit: int, show: Callable[[_T], Any], position: Callable[[_T], str | int]
) -> dict[str, Any]:
    """Return a page of rows. One row more than ``limit`` means that there is another page."""
    page = rows[:limit]
    has_more = len(rows) > limit
    return {
        "data": [show(row) for row in page],
        "next_cursor": cursor_at(position(page[-1])) if has_more else None,
        "has_more": has_more,
    }


def text_after(cursor: str | None) -> str:
    """Read the position in a list that is ordered by texts; the first page comes after "".

    Raises:
        ApiError: 422 for what no list has given.
    """
    if cursor is None:
        return ""
    try:
        position = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        position = ""
    if not position.isprintable() or cursor_at(position) != cursor:
        raise invalid_field_error("cursor", "must be a next_cursor from this list")
    return position


def number_after(cursor: str | None) -> int | None:
    """Read the position in a list that is ordered by numbers.

    Raises:
        ApiError: 422 for what no list has given.
    """
    if cursor is None:
        return None
    position = text_after(cursor)
    if not position.isdecimal() or len(position) > 19 or int(position) > LARGEST_ID:
        raise invalid_field_error("cursor", "must be a next_cursor from this list")
    return int(position)


def cursor_at(position: str | int) -> str:
    """Return what a caller gives back to go on behind a position."""
    return urlsafe_b64encode(str(position).encode()).decode().rstrip("=")
