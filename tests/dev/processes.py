"""Find the processes of a state folder."""

from contextlib import suppress
from pathlib import Path


def living(var: Path) -> dict[int, str]:
    """Return the command lines of all processes that were started for a state folder, by id."""
    marker = f"SIGNAL_VAR={var}".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and (
                marker in (folder / "environ").read_bytes().split(b"\0")
                # Valkey overwrites its environment with its title, so look at its working folder.
                or (folder / "cwd").readlink().is_relative_to(var)
            ):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(folder.name)] = command
    return {pid: command for pid, command in found.items() if command}
