"""Know the processes of the Procfile, and how one is started, in a checkout and where the package is installed."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from honcho.environ import parse_procfile

from worker.settings import Settings

# Commands name files and modules from here. A caller's own folder might hold another `tasks.py` or `worker`,
# which Celery and gunicorn would take for ours.
HOME = Path(__file__).parents[2]
PROCFILE = HOME / "worker" / "Procfile"


def commands() -> dict[str, str]:
    """Return the Procfile's command lines by name."""
    return dict(parse_procfile(PROCFILE.read_text()).processes)


def environment(settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """Return what a process needs that is started from ``HOME``: the caller's environment, independent of folders."""
    return {
        **given,
        "SIGNAL_VAR": str(settings.var),
        "DATABASE_URL": settings.database_url,
        # The commands are found without activating anything.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{given.get('PATH', '')}",
    }


def named(line: str, name: str, worker: str) -> str:
    """Return a worker's command line under another name than its process has: two of a kind need two.

    Raises:
        ValueError: it is no worker's, and nothing else has a name.
    """
    before, found, after = line.partition(f"--hostname {name}@%h")
    if not found:
        raise ValueError(name)
    return f"{before}--hostname {worker}@%h{after}"


def become(name: str, settings: Settings, given: Mapping[str, str], worker: str | None = None) -> None:
    """Replace this process by the named one, so that whoever started it signals and waits for the right one.

    Raises:
        ValueError: ``worker`` is given, and the process is no worker.
    """
    line = commands()[name]
    line = f"exec {line if worker is None else named(line, name, worker)}"
    os.chdir(HOME)
    os.execve("/bin/sh", ["sh", "-c", line], environment(settings, given))  # noqa: S606 - a line of our own
