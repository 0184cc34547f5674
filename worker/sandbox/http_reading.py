"""Read HTTP/1.1 requests from an asyncio stream, within bounds."""

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from worker.sandbox.http import RefusedError, Request

MAX_HEAD_BYTES = 32 << 10
MAX_CHUNK_LINE_BYTES = 256

_is_request_line = re.compile(r"([A-Z]{1,16}) ([!-~]{1,8000}) HTTP/1\.([01])").fullmatch
_is_header = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)").fullmatch
_is_length = re.compile(r"[0-9]{1,15}").fullmatch
_is_chunk_size = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[^\r\n]*)?\r\n").fullmatch


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, max_body_bytes: int
) -> Request | None:
    """Read the next request, or None where the other side ended the connection; raises RefusedError."""
    head = await _read_head(reader)
    if head is None:
        return None
    request_line, _, header_text = head.partition("\r\n")
    match = _is_request_line(request_line)
    if not match:
        raise RefusedError(400, "The request line is not HTTP/1.1")
    method, target, minor = match.groups()
    headers = _parse_headers(header_text)
    body = await _read_body(reader, writer, headers, max_body_bytes)
    keep_alive = minor == "1" and headers.get("connection", "").lower() != "close"
    path, query = _split_target(target)
    return Request(method, path, query, headers, body, keep_alive)


async def _read_head(reader: asyncio.StreamReader) -> str | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        head = bytes(MAX_HEAD_BYTES + 1)
    except asyncio.IncompleteReadError as ended:
        if ended.partial:
            raise
        return None
    if len(head) > MAX_HEAD_BYTES:
        raise RefusedError(431, f"The header must have at most {MAX_HEAD_BYTES} bytes")
    return head[:-4].decode("latin-1")


def _parse_headers(lines: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines.split("\r\n") if lines else ():
        match = _is_header(line)
        if not match:
            raise RefusedError(400, "A header line is malformed")
        name = match[1].lower()
        if name in headers and name in ("content-length", "transfer-encoding", "authorization", "host"):
            raise RefusedError(400, f"The header {name} came twice")
        headers[name] = match[2].strip(" \t")
    return headers


def _split_target(target: str) -> tuple[str, dict[str, str]]:
    try:
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True, max_num_fields=32)
    except ValueError:
        raise RefusedError(400, "The target is malformed") from None
    return parts.path, {name: values[-1] for name, values in query.items()}


async def _read_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str], max_bytes: int
) -> bytes:
    encoding = headers.get("transfer-encoding")
    length_text = headers.get("content-length")
    if encoding is not None and (length_text is not None or encoding.lower() != "chunked"):
        raise RefusedError(400, "Transfer-Encoding must be chunked, and stand without Content-Length")
    if length_text is not None and not _is_length(length_text):
        raise RefusedError(400, "Content-Length must be a number")
    length = int(length_text or 0)
    if length > max_bytes:
        raise RefusedError(413, f"The body must have at most {max_bytes} bytes")
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if encoding is not None:
        return await _read_chunks(reader, max_bytes)
    return await reader.readexactly(length) if length else b""


async def _read_chunks(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    body = bytearray()
    while size := await _read_chunk_size(reader):
        if len(body) + size > max_bytes:
            raise RefusedError(413, f"The body must have at most {max_bytes} bytes")
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise RefusedError(400, "A chunk is longer than it says")
    if await reader.readexactly(2) != b"\r\n":
        raise RefusedError(400, "Trailers are not taken")
    return bytes(body)


async def _read_chunk_size(reader: asyncio.StreamReader) -> int:
    try:
        line = await reader.readuntil(b"\r\n")
    except asyncio.LimitOverrunError:
        line = b""
    match = _is_chunk_size(line) if len(line) <= MAX_CHUNK_LINE_BYTES else None
    if not match:
        raise RefusedError(400, "A chunk's size is malformed")
    return int(match[1], 16)
