"""Run the comparisons: all rows but the long ones, or those named."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module

import pytest

from benchmarks import report, results
from benchmarks.results import Result

# A row is a module with ``run(quick: bool) -> list[Result]``. ``quick`` measures too little to be published.
ROWS = {
    "build": "benchmarks.build",
    "publish": "benchmarks.publish",
    "consume": "benchmarks.consume",
    "end-to-end": "benchmarks.end_to_end",
    "embedded": "benchmarks.embedded",
    "fill": "benchmarks.fill",
    "latency": "benchmarks.latency",
    "growth": "benchmarks.growth",
    "memory": "benchmarks.memory",
    "migrations": "benchmarks.migrations",
    "pages": "benchmarks.pages",
    "rate": "benchmarks.rate",
    "scale": "benchmarks.scale",
    "ten-million": "benchmarks.ten_million",
}
# Measured only by name: each of them adds ten million rows, which takes minutes.
LONG = ("migrations", "ten-million")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named rows, or all but the long ones; print the results and write them into the documentation."""
    options = _parser().parse_args(arguments)
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        raise SystemExit(f"There is no row {unknown[0]!r}; there are {', '.join(ROWS)}.")
    setting = results.setting()
    print(f"{setting['machine']}; {setting['versions']}", flush=True)
    for name in options.rows or [name for name in ROWS if name not in LONG]:
        rows = [replace(row, setting=setting) for row in _run(name, options.quick)]
        if rows and not options.quick:
            report.write(rows, list(ROWS))
    return 0


def _run(name: str, quick: bool) -> list[Result]:
    print(f"\n== {name}", flush=True)
    start = time.monotonic()
    try:
        rows: list[Result] = import_module(ROWS[name]).run(quick)
    except pytest.skip.Exception as missing:
        print(f"  not measured: {missing}")
        return []
    for row in rows:
        print("\n".join(row.lines()))
    print(f"  took {time.monotonic() - start:.0f} s", flush=True)
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="check that the rows run; write no results")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
