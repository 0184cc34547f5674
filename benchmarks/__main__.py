"""Run the comparisons: all rows, or those named."""

import sys

from benchmarks import build, consume, publish

ROWS = {"build": build.main, "publish": publish.main, "consume": consume.main}


def main(names: list[str]) -> None:
    """Run rows by name; none given means all."""
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise SystemExit(f"There is no row {unknown[0]!r}; there are {', '.join(ROWS)}.")
    for name in names or ROWS:
        print(f"\n== {name}", flush=True)
        ROWS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
