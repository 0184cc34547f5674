"""Run Celery's own command line without Flower's command and Celery's shell: 20 MB of each process that needs neither.

``celery`` loads both before it looks at what it is asked for, and knows no option against that. Should a new
version find them in another way, this starts it all the same, larger.
"""

import sys
from importlib import import_module, metadata
from importlib.metadata import EntryPoints
from types import ModuleType
from typing import Any

ADDED_COMMANDS = "celery.commands"


class NoShell(ModuleType):
    """Stand in for ``click_repl``, of which Celery wants one function for ``celery amqp``."""

    @staticmethod
    def register_repl(_group: Any) -> None:
        """Add no shell."""


def main() -> None:
    """Be ``celery``, with the arguments that were given."""
    sys.modules["click_repl"] = NoShell("click_repl")
    found: Any = metadata.entry_points

    def without_commands(**wanted: Any) -> Any:
        return EntryPoints() if wanted.get("group") == ADDED_COMMANDS else found(**wanted)

    metadata.entry_points = without_commands
    try:
        # It looks for them as it is loaded.
        import_module("celery.bin.celery")
    finally:
        metadata.entry_points = found
    import_module("celery.__main__").main()


if __name__ == "__main__":
    main()
