"""Run the sandbox from the command line."""

import argparse
import asyncio
import gc
import logging
import signal
from collections.abc import Sequence

from worker.dev.sandbox.received_events import Bounds
from worker.dev.sandbox.routes import App
from worker.dev.sandbox.server import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until TERM or INT; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=_level(options), format="sandbox: %(message)s")
    # At INFO Tornado quotes malformed headers, and a token may be in them.
    logging.getLogger("tornado").setLevel(logging.WARNING)
    # Parsed events are trees, which reference counting frees; walking a million kept ids at every thousand
    # new objects would cost a third of the throughput.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    try:
        asyncio.run(_serve(options))
    except OSError as problem:
        raise SystemExit(f"The sandbox cannot listen on {options.host}:{options.port}: {problem}") from None
    return 0


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def is_ready(port: int) -> None:
        print(f"sandbox listening on http://{options.host}:{port}", flush=True)

    app = App(Bounds(events=options.keep_events, ids=options.keep_ids))
    await serve(app, host=options.host, port=options.port, ready=is_ready, stop=stop)


def _level(options: argparse.Namespace) -> int:
    if options.quiet:
        return logging.WARNING
    return logging.DEBUG if options.verbose else logging.INFO


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"must be a number: {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    bounds = Bounds()
    parser = argparse.ArgumentParser(
        prog="python -m worker.dev.sandbox", description="A local stand-in for Pinterest's Conversions API."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8090, help="0: any free one (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="say nothing about faults that a script made")
    parser.add_argument("--verbose", action="store_true", help="one line per request")
    parser.add_argument(
        "--keep-events", type=_count, default=bounds.events, help="in full (default: %(default)s)"
    )
    parser.add_argument(
        "--keep-ids", type=_count, default=bounds.ids, help="to find copies (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
