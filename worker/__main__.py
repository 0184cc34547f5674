"""Run the command line: ``python -m worker``, or ``signal-worker``."""

import signal


def main() -> None:
    """Run the command that the arguments name; what is wrong is said in a sentence, with status 1."""
    try:
        # To load all this takes a second, in which whoever typed it may think better of it.
        from worker import logs
        from worker.cli import cli
        from worker.cli.errors import exit_with_message
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    with exit_with_message():
        logs.set_up()
        cli(prog_name="signal-worker")


if __name__ == "__main__":
    main()
