"""Serve one connection, request after request."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from worker.sandbox.http import RefusedError, Request, Response
from worker.sandbox.http_reading import read_request
from worker.sandbox.http_writing import write_response

READ_AHEAD_BYTES = 1 << 20
# A connection that says nothing, or says it too slowly, is let go.
READ_TIMEOUT_SECONDS = 75.0
DRAIN_SECONDS = 2.0

Handler = Callable[[Request], Response]
Refusal = Callable[[int, str], Response]


async def serve_connection(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    handler: Handler,
    refusal: Refusal,
    max_body_bytes: int,
) -> None:
    """Answer a connection's requests one after the other until either side ends it."""
    try:
        while True:
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                request = await read_request(reader, writer, max_body_bytes)
            if request is None:
                return
            response = handler(request)
            await write_response(response, writer, request.keep_alive)
            if response.fault or not request.keep_alive:
                return
    except RefusedError as refused:
        with suppress(ConnectionError):
            await write_response(refusal(refused.status, refused.message), writer, keep_alive=False)
            await _discard_rest(reader, writer)
    except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
        # The other side fell silent or left; there is nobody to tell.
        return
    except asyncio.CancelledError:
        # Only the end of the whole server cancels a connection, and it waits for this one to close.
        return
    finally:
        writer.close()


async def _discard_rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read on for a moment, so that the refusal is not lost to a reset caused by unread bytes."""
    try:
        if writer.can_write_eof():
            writer.write_eof()
        async with asyncio.timeout(DRAIN_SECONDS):
            while await reader.read(READ_AHEAD_BYTES):
                pass
    except (TimeoutError, ConnectionError):
        return
