"""Workers and beat carry nothing of Flower's with them."""

import subprocess
import sys
from pathlib import Path

from honcho.environ import parse_procfile

ROOT = Path(__file__).parents[2]
TELL = """
import sys
from worker.engine.lean_celery import main
sys.argv = ["celery", "--help"]
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def test_celery_is_loaded_with_its_own_commands_and_without_flowers() -> None:
    told = subprocess.run([sys.executable, "-c", TELL], cwd=ROOT, capture_output=True, text=True, check=True)
    commands = {line.split()[0] for line in told.stdout.splitlines() if line.startswith("  ")}
    loaded = {name.partition(".")[0] for name in told.stderr.split()}
    assert {"worker", "beat", "inspect"} <= commands
    assert ("flower" in commands, loaded & {"flower", "tornado", "prompt_toolkit"}) == (False, set())


def test_whoever_is_not_flower_starts_without_it() -> None:
    lines = parse_procfile((ROOT / "Procfile").read_text()).processes
    lean = sorted(
        name for name, line in lines.items() if line.startswith("python -m worker.engine.lean_celery ")
    )
    stock = [name for name, line in lines.items() if line.startswith("celery ")]
    assert (lean, stock) == (["beat", "delivery", "ingest", "upkeep"], ["flower"])
