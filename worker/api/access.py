"""List, add, change and remove people who sign in to the pages. Owners only."""

# marshmallow calls its hooks with more than each one needs.
# ruff: noqa: ARG002

from typing import Any

from marshmallow import ValidationError, fields

from worker.api import context, pagination
from worker.api.auth import require_owner
from worker.api.blueprint import Blueprint
from worker.api.fields import Boolean, Shape, Text, Timestamp
from worker.api.pagination import page_of
from worker.event.times import iso, parse_time
from worker.ledger.setup.access import Role, User
from worker.operations.setup import access

blueprint = Blueprint(
    "users", __name__, url_prefix="/v1/admin", description="People who sign in to the pages"
)
blueprint.before_request(require_owner)


class _Moment(Text):
    """Take and show an ISO 8601 time, which is Unix seconds inside."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else iso(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        seconds = parse_time(super()._deserialize(value, attr, data, **kwargs))
        if seconds is None:
            raise ValidationError("must be a time like 2030-01-29T14:53:20Z")
        return seconds


class _Password(fields.String):
    """Take a password as it is typed, spaces included."""


class _UserAnswer(Shape):
    """Show a user; the password is never shown."""

    id = Text()
    name = Text()
    role = Text()
    enabled = Boolean()
    created_at = Timestamp()
    created_by = Text()
    last_used_at = _Moment(
        allow_none=True, metadata={"description": "The last sign-in; null if there was none."}
    )
    expires_at = _Moment(allow_none=True, metadata={"description": "When the access ends; null if never."})


class _UserChange(Shape):
    """Change the given fields. A new password, or `enabled: false`, ends the user's sessions."""

    role = Text(metadata={"description": "viewer, editor or owner."})
    enabled = Boolean()
    password = _Password(metadata={"description": "12 to 128 characters."})
    expires_at = _Moment(allow_none=True, metadata={"description": "ISO 8601; null: never."})


class _UserBody(Shape):
    """Describe a new user."""

    name = Text(required=True, metadata={"description": "Unique, in whatever case."})
    role = Text(load_default=Role.VIEWER.value, metadata={"description": "viewer, editor or owner."})
    password = _Password(required=True, metadata={"description": "12 to 128 characters."})
    expires_at = _Moment(
        load_default=None, allow_none=True, metadata={"description": "ISO 8601; null: never."}
    )


@blueprint.route("/users")
@blueprint.response(200, page_of(_UserAnswer))
def _get_users() -> dict[str, Any]:
    """List the users, by name, all on one page. Owners only."""
    users = access.list_users(context.request_caller())
    return pagination.page_answer(users, len(users), lambda user: user, lambda user: user.id)


@blueprint.route("/users", methods=["POST"])
@blueprint.arguments(_UserBody)
@blueprint.response(201, _UserAnswer)
def _post_user(body: dict[str, Any]) -> User:
    """Add a user. Owners only."""
    return access.create_user(context.request_caller(), **body)


@blueprint.route("/users/<user_id>", methods=["PATCH"])
@blueprint.arguments(_UserChange)
@blueprint.response(200, _UserAnswer)
def _patch_user(body: dict[str, Any], user_id: str) -> User:
    """Change a user, named by id or name. Owners only."""
    return access.change_user(context.request_caller(), user_id, body)


@blueprint.route("/users/<user_id>", methods=["DELETE"])
@blueprint.response(204)
def _delete_user(user_id: str) -> None:
    """Remove a user, named by id or name, and end the user's sessions. Owners only."""
    access.remove_user(context.request_caller(), user_id)
