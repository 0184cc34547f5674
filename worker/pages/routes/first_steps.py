"""Show the steps of the setup."""

from flask import render_template

from worker.api import context
from worker.operations.reports.first_steps import list_steps
from worker.pages.base import blueprint


@blueprint.get("/first-steps")
def _first_steps_page() -> str:
    """Show the steps of the setup, also when all are done."""
    return render_template("first_steps.html", steps=list_steps(context.request_caller()))
