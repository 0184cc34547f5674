"""Run everything on this machine."""

import sys

import click


@click.command("run")
def run_command() -> None:
    """Run the whole stack on this machine, with an embedded broker and sandbox unless configured."""
    from worker.dev import stack

    sys.exit(stack.run_stack())
