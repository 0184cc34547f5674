"""Run the command line: ``python -m worker``, or ``signal-worker``."""

import os
import signal


def main() -> None:
    """Run the command in the arguments; an error ends it with one message and status 1."""
    # Files of this process and of those that it starts are for its user only.
    os.umask(0o077)
    try:
        # Importing takes a second, in which Ctrl-C must end quietly.
        from worker import logs
        from worker.cli import cli
        from worker.cli.common import exit_with_message
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    with exit_with_message():
        logs.set_up()
        cli(prog_name="signal-worker")


if __name__ == "__main__":
    main()
