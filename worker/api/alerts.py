"""List the firing alerts and the newest notices."""

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.fields import Integer, ListOf, Nested, Shape, Text, Timestamp
from worker.api.shared_fields import TimestampOrNull
from worker.operations.reports.alerts import Alerts, list_alerts

blueprint = Blueprint("alerts", __name__, url_prefix="/v1/admin", description="Alerts and notices")


class _AlertAnswer(Shape):
    """One firing alert."""

    rule = Text()
    subject = Text()
    severity = Text()
    summary = Text()
    what_to_do = Text()
    since = Timestamp()
    fired_at = Timestamp()


class _NoticeAnswer(Shape):
    """A notice of one change."""

    id = Integer()
    at = Timestamp()
    change = Text()
    rule = Text()
    subject = Text()
    severity = Text()
    summary = Text()
    attempts = Integer()
    told_at = TimestampOrNull(metadata={"description": "When the webhook accepted it."})
    given_up_at = TimestampOrNull()


class _AlertsAnswer(Shape):
    """Firing alerts, critical first, and notices, newest first."""

    firing = ListOf(Nested(_AlertAnswer))
    recent = ListOf(Nested(_NoticeAnswer))


@blueprint.route("/alerts")
@blueprint.response(200, _AlertsAnswer)
def _get_alerts() -> Alerts:
    """List the firing alerts and the newest notices."""
    return list_alerts(context.request_caller())
