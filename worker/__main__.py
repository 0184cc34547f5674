"""Run the command line: ``python -m worker``, or ``signal-worker``."""

from worker import logs
from worker.cli import cli
from worker.cli.errors import in_plain_words


def main() -> None:
    """Run the command that the arguments name; what is wrong is said in a sentence, with status 1."""
    with in_plain_words():
        logs.set_up()
        cli(prog_name="signal-worker")


if __name__ == "__main__":
    main()
