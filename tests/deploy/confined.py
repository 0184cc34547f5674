"""Run a command with the system calls of a systemd unit: ``python -m tests.deploy.confined UNIT COMMAND …``."""

import ctypes
import os
import re
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001
_NO_NEW_PRIVILEGES = 38
_MASKED_EQUAL = 7
_PROTECTION_ARGUMENT = 2
# Memory is writable or executable, and what exists does not become executable.
_MEMORY_CALLS = {"mmap": (6, (0, 2, 4)), "mprotect": (4, (0,)), "pkey_mprotect": (4, (0,))}


class _Condition(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def _calls(group: str) -> set[str]:
    """Return the names of the system calls in one of systemd's groups."""
    command = ["systemd-analyze", "syscall-filter", group]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    names = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return {call for name in names for call in (_calls(name) if name.startswith("@") else {name})}


def _allowed(unit: Path) -> set[str]:
    (groups,) = re.findall(r"^SystemCallFilter=(.+)$", unit.read_text(), re.MULTILINE)
    return _calls("@default").union(*map(_calls, groups.split()))


def confine(unit: Path) -> None:
    """Refuse every other system call of this process and its children with EPERM."""
    library = ctypes.CDLL(find_library("seccomp"))
    library.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_REFUSE)))
    for name in _allowed(unit):
        number = library.seccomp_syscall_resolve_name(name.encode())
        mask, values = _MEMORY_CALLS.get(name, (0, (None,)))
        for value in values if number >= 0 else ():
            condition = _Condition(_PROTECTION_ARGUMENT, _MASKED_EQUAL, mask, value or 0)
            amount = 0 if value is None else 1
            if library.seccomp_rule_add_array(
                rules, ctypes.c_uint32(_ALLOW), number, amount, ctypes.byref(condition)
            ):
                raise OSError(f"The rule for {name} was refused.")
    if ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or library.seccomp_load(rules):
        raise OSError("The filter was refused.")


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the command of a test
