"""Fields that several queries and answers share."""

from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import ValidationError, fields

from worker.api import context
from worker.api.errors import invalid_field_error
from worker.api.fields import Text, Timestamp
from worker.event.times import iso
from worker.formats import parse_since


class Since(Text):
    """Take 90m, 24h, 7d or an ISO 8601 time, and give Unix seconds."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            return parse_since(text, context.now())
        except ValueError as error:
            raise ValidationError(str(error)) from None


class TimestampOrNull(Timestamp):
    """Show Unix seconds as ISO 8601 in UTC, or null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_none=True, **options)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        return None if value is None else iso(value)


def query_flag(**options: Any) -> fields.Boolean:
    """Make a field that takes the words true and false, as a query has them."""
    return fields.Boolean(
        load_default=False,
        truthy={"true"},
        falsy={"false"},
        error_messages={"invalid": "must be true or false"},
        **options,
    )


def counts_field(description: str) -> fields.Dict:
    """Make a field that holds a number for each of several names."""
    return fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={"description": description})


def without_fixed_fields(
    body: Mapping[str, Any], current: Mapping[str, Any], fixed: Sequence[str]
) -> dict[str, Any]:
    """Return what a request may change; fixed fields may be sent back as they were read.

    Raises:
        ApiError: 422 for a fixed field with another value.
    """
    for field in fixed:
        if field in body and body[field] != current[field]:
            raise invalid_field_error(field, "cannot be changed")
    return {name: value for name, value in body.items() if name not in fixed}
