"""Show what is wrong now, and what was told lately."""

from worker.api import context
from worker.api.blueprint import Blueprint
from worker.api.fields import Items, Moment, Part, Shape, Text, Whole
from worker.api.queries import MomentOrNull
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
    since = Moment()
    fired_at = Moment()


class NoticeAnswer(Shape):
    """Show one change that was told; ``told_at`` is when the webhook took it."""

    id = Whole()
    at = Moment()
    change = Text()
    rule = Text()
    subject = Text()
    severity = Text()
    summary = Text()
    attempts = Whole()
    told_at = MomentOrNull()
    given_up_at = MomentOrNull()


class AlertsAnswer(Shape):
    """Show what is wrong now, the gravest first, and the latest changes, the latest first."""

    firing = Items(Part(AlertAnswer))
    recent = Items(Part(NoticeAnswer))


@blueprint.route("/alerts")
@blueprint.response(200, AlertsAnswer)
def show() -> Alerts:
    """Show what is wrong now, and what was told lately."""
    return list_alerts(context.caller())
