"""Row "embedded": ``/v1/batch`` in, delivered out, on the stack of ``make run``, compared with the usual way."""

from benchmarks.delivering import Size
from benchmarks.end_to_end import compare
from benchmarks.results import Result

USUAL, QUICK = Size(3, 20_000, 2_500), Size(1, 5_000, 300)
TIMES, RATE = 8, 1_500


def run(quick: bool = False) -> list[Result]:
    """Deliver a shop's traffic both ways, as fast as each of them can."""
    size = QUICK if quick else USUAL
    return compare("embedded", "Valkey + SQLite", "valkey", "sqlite", size, (TIMES, RATE))
