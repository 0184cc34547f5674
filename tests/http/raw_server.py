"""A socket server that answers, drips, cuts, resets or stalls as a test requires."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from worker.pinterest.client.client import Answer, PinterestClient

TOKEN = "pina_secret_token_of_ours"
BODY = b'{"data":[{"event_id":"evt_1"}]}'
GOOD = b'{"num_events_received":1,"num_events_processed":1,"events":[{"status":"processed"}]}'

Behaviour = Callable[[socket.socket], None]


def whole(body: bytes = GOOD, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class Server:
    """Accept connections on a free port, store each request, and answer by the given behaviour."""

    def __init__(self, behaviour: Behaviour, context: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.requests: list[bytes] = []
        self.connections = 0
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._spawn(self._accept)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        with suppress(OSError), ExitStack() as stack:
            stack.enter_context(connection)
            if self._context:
                connection = stack.enter_context(self._context.wrap_socket(connection, server_side=True))
            while request := read_request(connection):
                self.requests.append(request)
                self.behaviour(connection)


def read_request(connection: socket.socket) -> bytes:
    """Read one request; empty if the client closed the connection."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        part = connection.recv(65536)
        if not part:
            return b""
        seen += part
    head, _, body = seen.partition(b"\r\n\r\n")
    lengths = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    length = int(lengths[0]) if lengths else 0
    while len(body) < length:
        part = connection.recv(65536)
        if not part:
            return b""
        body += part
    return head + b"\r\n\r\n" + body


def answers(data: bytes) -> Behaviour:
    return lambda connection: connection.sendall(data)


def answers_and_closes(data: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)

    return behave


def drips(data: bytes) -> Behaviour:
    """Send a byte every 20 ms: each single read is in time, but the whole answer is not."""

    def behave(connection: socket.socket) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    return behave


def resets(data: bytes = b"") -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.sendall(data)
        # A linger time of zero makes the close an RST.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return behave


def stalls(connection: socket.socket) -> None:
    connection.recv(1)


Serve = Callable[..., Server]
Connect = Callable[..., PinterestClient]


def send(client: PinterestClient, *, body: bytes = BODY, token: str = TOKEN, test: bool = False) -> Answer:
    return client.send("1234567890", token, body, test)
