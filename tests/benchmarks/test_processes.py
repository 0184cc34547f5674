import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

from benchmarks import processes
from tests.integration.waiting import until

FORKS = "import os, sys; child = os.fork(); print(child or os.getpid(), flush=True); sys.stdin.read()"
BURNS = "import time\nwhile time.process_time() < 0.3: pass\nprint(1, flush=True)\ninput()"


def stack_of(process: "subprocess.Popen[bytes]") -> Any:
    return SimpleNamespace(running={"part": process})


def started(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


def test_children_belong_to_the_part_that_started_them() -> None:
    with started(FORKS) as parent:
        found = until("both are there", lambda: processes.of_stack(stack_of(parent)).get("part", ()))
        until("both are there", lambda: len(processes.of_stack(stack_of(parent))["part"]) == 2)
        assert {one.session for one in found} == {parent.pid}
        assert processes.resident_megabytes(stack_of(parent))["part"] > 1
        parent.communicate()


def test_processor_time_is_told_in_seconds() -> None:
    with started(BURNS) as burning:
        assert burning.stdout is not None
        burning.stdout.readline()
        assert 0.28 <= processes.cpu_seconds(stack_of(burning))["part"] < 3.0
        burning.communicate(b"\n")


def test_a_name_with_brackets_is_no_trouble() -> None:
    line = f"7 (a (b) c) S 1 7 42 {' '.join(map(str, range(7, 60)))}"
    assert processes._parsed(line) == (7, "a (b) c", 42, (14 + 15 + 16 + 17) / os.sysconf("SC_CLK_TCK"))
