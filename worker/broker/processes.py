"""Start a Celery worker or beat: ``python -m worker.broker.processes worker …`` or ``… beat``.

The options have the names and meanings that ``celery`` gives them. ``celery -A worker worker`` starts the same worker
with about 10 MB more: it also loads Flower and a shell, because they add commands to it.
"""

import sys
from dataclasses import dataclass
from typing import Any

import click
from celery import Celery
from celery.app.utils import find_app
from celery.exceptions import ImproperlyConfigured, SecurityError
from celery.utils.nodenames import default_nodename, host_format

_LOG_LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False)


@dataclass(frozen=True)
class _Common:
    """The options of both commands."""

    app: str
    quiet: bool

    def load(self) -> Celery:
        """Import the Celery app, as ``celery -A`` does; the current folder comes first."""
        try:
            app: Celery = find_app(self.app)
        except ModuleNotFoundError as error:
            if error.name != self.app:
                raise
            raise click.UsageError(f"There is no module {self.app}.") from None
        return app


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-A", "--app", default="worker", show_default=True, help="Module that has the Celery app.")
@click.option("-q", "--quiet", is_flag=True, help="Print no banner.")
@click.pass_context
def _process_cli(context: click.Context, app: str, quiet: bool) -> None:
    """Start a Celery worker, or beat."""
    context.obj = _Common(app, quiet)


def _node_name(_context: click.Context, _option: click.Parameter, name: str | None) -> str:
    return host_format(default_nodename(name or ""))


@_process_cli.command()
@click.option("-Q", "--queues", help="Queues to consume from, separated by commas; all if not given.")
@click.option(
    "-n", "--hostname", callback=_node_name, help="Node name. %h is the host, %n its name, %d its domain."
)
@click.option(
    "-P", "--pool", type=click.Choice(["threads", "prefork", "solo"]), default="threads", show_default=True
)
@click.option(
    "-c", "--concurrency", type=click.IntRange(min=0), help="Threads or processes; 0: one for each CPU."
)
@click.option("-l", "--loglevel", type=_LOG_LEVELS, default="WARNING", show_default=True)
@click.option("--without-mingle", is_flag=True, help="Do not ask other workers for their state at the start.")
@click.option("--without-gossip", is_flag=True, help="Do not follow the events of other workers.")
@click.option("--without-heartbeat", is_flag=True, help="Do not send heartbeat events.")
@click.pass_obj
def worker(common: _Common, /, **options: Any) -> None:
    """Run a worker until a signal stops it.

    TERM and INT let the running tasks end, status 0. QUIT and a second INT are Celery's cold shutdown, status 1. HUP
    restarts the worker, unless its output is a terminal.
    """
    try:
        program: Any = common.load().Worker(quiet=common.quiet, **options)
    except (ImproperlyConfigured, SecurityError) as error:
        raise click.ClickException(str(error)) from None
    program.start()
    sys.exit(program.exitcode)


@_process_cli.command()
@click.option("-l", "--loglevel", type=_LOG_LEVELS, default="WARNING", show_default=True)
@click.option(
    "-s", "--schedule", help="Path of the schedule file; the setting `beat_schedule_filename` if not given."
)
@click.option(
    "--max-interval", type=click.IntRange(min=1), help="Longest sleep between two ticks, in seconds."
)
@click.pass_obj
def beat(common: _Common, /, **options: Any) -> None:
    """Run beat until a signal stops it."""
    common.load().Beat(quiet=common.quiet, **options).run()


def main() -> None:
    """Run the command line."""
    # On HUP Celery executes `python` with sys.argv. The path of this file would put its folder in place of the current
    # one on the module path.
    sys.argv[:1] = ["-m", "worker.broker.processes"]
    _process_cli(sys.argv[2:], prog_name="python -m worker.broker.processes")


if __name__ == "__main__":
    main()
