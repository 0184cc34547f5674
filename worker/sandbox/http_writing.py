"""Write HTTP/1.1 answers to an asyncio stream, and break them on command."""

import asyncio
import socket
import struct
from http import HTTPStatus

from worker.sandbox.http import Fault, Response


async def write_response(response: Response, writer: asyncio.StreamWriter, keep_alive: bool) -> None:
    """Send an answer after its delay, with its fault."""
    if response.delay_seconds:
        await asyncio.sleep(response.delay_seconds)
    if response.fault:
        await _send_broken(response, response.fault, writer)
    elif isinstance(response.body, bytes):
        writer.write(_head(response, keep_alive, len(response.body)) + response.body)
    else:
        writer.write(_head(response, keep_alive, None))
        for piece in response.body:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
    await writer.drain()


def _head(response: Response, keep_alive: bool, length: int | None) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [
        f"HTTP/1.1 {response.status} {_phrase(response.status)}",
        f"Content-Type: {response.content_type}",
        size,
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


async def _send_broken(response: Response, fault: Fault, writer: asyncio.StreamWriter) -> None:
    if not isinstance(response.body, bytes):
        raise TypeError("only a body of known length can be broken")
    whole = _head(response, False, len(response.body)) + response.body
    if fault.kind == "reset":
        # With linger switched on and a time of zero the kernel sends a reset instead of an orderly end.
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif fault.kind == "truncate":
        missing = max(1, len(response.body) - int(fault.amount))
        writer.write(whole[: len(whole) - missing])
    elif fault.kind == "drip":
        await _drip(whole, fault.amount, writer)


async def _drip(whole: bytes, bytes_per_second: float, writer: asyncio.StreamWriter) -> None:
    """Send byte by byte, or as many bytes at once as keep it at 20 sends a second."""
    step = max(1, int(bytes_per_second / 20))
    for start in range(0, len(whole), step):
        writer.write(whole[start : start + step])
        await writer.drain()
        await asyncio.sleep(step / bytes_per_second)
