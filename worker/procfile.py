"""The command lines of the service's processes, from the Procfile next to this module."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from honcho.environ import parse_procfile

from worker.settings import Settings

# Paths and modules in the commands are relative to this folder. The caller's folder might contain another `tasks.py`
# or `worker`, which Celery and gunicorn would import instead of ours.
HOME = Path(__file__).parents[1]
_PROCFILE = HOME / "worker" / "Procfile"


def commands() -> dict[str, str]:
    """Return the Procfile's command lines by name."""
    return dict(parse_procfile(_PROCFILE.read_text()).processes)


def environment(settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that runs in ``HOME``: the caller's, without relative paths."""
    return {
        **base,
        "SIGNAL_VAR": str(settings.var),
        "DATABASE_URL": settings.database_url,
        # So that the commands are found without an activated virtual environment.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{base.get('PATH', '')}",
    }


def _rename_worker(line: str, name: str, worker: str) -> str:
    """Return a worker's command line with another worker name, which a second worker of the same kind needs.

    Raises:
        ValueError: the process is not a worker.
    """
    before, option, after = line.partition(f"--hostname {name}@%h")
    if not option:
        raise ValueError(name)
    return f"{before}--hostname {worker}@%h{after}"


def exec_process(name: str, settings: Settings, base: Mapping[str, str], worker: str | None = None) -> None:
    """Replace this process by the named one, so that signals and the exit status of this process are its own.

    Raises:
        ValueError: ``worker`` is given, and the process is not a worker.
    """
    line = commands()[name]
    line = f"exec {line if worker is None else _rename_worker(line, name, worker)}"
    os.chdir(HOME)
    os.execve("/bin/sh", ["sh", "-c", line], environment(settings, base))  # noqa: S606 - a line of our own
