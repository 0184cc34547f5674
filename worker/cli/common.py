"""What several commands share: the caller, times, and errors as sentences."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import click
from sqlalchemy.exc import SQLAlchemyError

from worker.ledger import migrate
from worker.ledger.database import Ledger, LedgerBusyError, LedgerRefusedError, is_ledger_unavailable
from worker.ledger.setup.access import Role
from worker.ledger.vault import SealError
from worker.operations.caller import Caller
from worker.runtime import ledger
from worker.settings import SettingsError, settings

_Command = TypeVar("_Command", bound=Callable[..., Any])

# Written into the audit log.
_ACTOR = "command line"


class CommandGroup(click.Group):
    """List commands with whole sentences, which click would cut."""

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with the first sentence of each."""
        commands = [command for command in self.commands.values() if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(command.name or "", command.get_short_help_str(limit=500)) for command in commands]
            )


def checked_ledger() -> Ledger:
    """Return the ledger after checking its tables and keys."""
    migrate.check_ledger(ledger())
    _name_sandbox()
    return ledger()


@cache
def _name_sandbox() -> None:
    """Say once, to a person at a terminal, that events go to a sandbox."""
    if settings().sandbox_url and sys.stderr.isatty():
        click.echo(f"Sandbox: events go to {settings().sandbox_url}, not to Pinterest.", err=True)


def cli_caller(*, checked: bool = True) -> Caller:
    """Return the command line as the caller of an operation; unchecked, the ledger may have no tables yet."""
    own_ledger = checked_ledger() if checked else ledger()
    return Caller(own_ledger, _ACTOR, own_ledger.now())


def role_option(default: str | None = Role.VIEWER.value) -> Callable[[_Command], _Command]:
    """Return the option for a role."""
    return click.option(
        "--role",
        type=click.Choice([role.value for role in Role]),
        default=default,
        show_default=default is not None,
        help="viewer: reads; editor: also changes; owner: also manages users and tokens.",
    )


def utc_time(seconds: float | None) -> str:
    """Write Unix seconds as a person reads them, in UTC."""
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@contextmanager
def exit_with_message() -> Iterator[None]:
    """Turn errors that an operator can fix into one sentence and status 1. Others keep their traceback."""
    try:
        yield
    except (SettingsError, LedgerRefusedError, SealError) as error:
        raise SystemExit(str(error)) from None
    except (SQLAlchemyError, LedgerBusyError) as error:
        if not is_ledger_unavailable(error):
            raise
        raise SystemExit(
            f"The database does not answer, or takes no writes ({type(error).__name__}). `doctor` says what is wrong."
        ) from None
