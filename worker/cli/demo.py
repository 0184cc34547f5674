"""Send a visitor's walk through a shop; `run` starts this command."""

import click

from worker.runtime import ledger
from worker.settings import settings


@click.command("demo", hidden=True)
@click.option("--sandbox-url", required=True)
def demo_command(sandbox_url: str) -> None:
    """Send a visitor's walk through a shop, and print each delivery."""
    from worker.dev import shop_walk

    shop_walk.run_demo(ledger(), settings(), sandbox_url)
