"""Show what is wrong now, and what was told lately."""

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.fields import Integer, ListOf, Nested, Shape, Text, Timestamp
from worker.api.queries import TimestampOrNull
from worker.operations.reports.alerts import Alerts, list_alerts

blueprint = Blueprint(
    "alerts", __name__, url_prefix="/v1/admin", description="What the person on call has to know"
)


class AlertAnswer(Shape):
    """Show one thing that is wrong now."""

    rule = Text()
    subject = Text()
    severity = Text()
    summary = Text()
    what_to_do = Text()
    since = Timestamp()
    fired_at = Timestamp()


class NoticeAnswer(Shape):
    """Show one change that was told; ``told_at`` is when the webhook took it."""

    id = Integer()
    at = Timestamp()
    change = Text()
    rule = Text()
    subject = Text()
    severity = Text()
    summary = Text()
    attempts = Integer()
    told_at = TimestampOrNull()
    given_up_at = TimestampOrNull()


class AlertsAnswer(Shape):
    """Show what is wrong now, the gravest first, and the latest changes, the latest first."""

    firing = ListOf(Nested(AlertAnswer))
    recent = ListOf(Nested(NoticeAnswer))


@blueprint.route("/alerts")
@blueprint.response(200, AlertsAnswer)
def get_alerts() -> Alerts:
    """Show what is wrong now, and what was told lately."""
    return list_alerts(context.request_caller())
