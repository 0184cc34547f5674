"""The command line ends quietly after a signal during its start."""

import signal
import subprocess
import sys
from pathlib import Path

# Ctrl-C in the middle of loading.
INTERRUPTED = """
import sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "worker.cli":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
from worker.__main__ import main
main()
"""


def test_ctrl_c_during_the_start_says_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, "", "")
