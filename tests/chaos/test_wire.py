"""The wire itself does what the other tests rely on."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.chaos.wire import Fault, Wire, broken, wired


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """Serve connections that get back what they send."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=_echo, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)


def _echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(4096):
            connection.sendall(data)


@pytest.fixture
def wire(echo: tuple[str, int]) -> Iterator[Wire]:
    with wired(echo) as wire:
        yield wire


def _dial(wire: Wire) -> socket.socket:
    return socket.create_connection(("127.0.0.1", wire.port), timeout=2)


def test_a_whole_wire_passes_bytes_both_ways(wire: Wire) -> None:
    with _dial(wire) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"


def test_a_slow_wire_takes_its_time_each_way(wire: Wire) -> None:
    with broken(wire, Fault(latency_seconds=0.1)), _dial(wire) as client:
        began = time.monotonic()
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"
    assert time.monotonic() - began >= 0.2


def test_a_silent_wire_closes_nothing_and_a_link_that_met_it_stays_dead(wire: Wire) -> None:
    with _dial(wire) as client:
        client.settimeout(0.3)
        with broken(wire, Fault(silent=True)):
            client.sendall(b"lost")
            with pytest.raises(TimeoutError):
                client.recv(10)
        client.sendall(b"lost too")
        with pytest.raises(TimeoutError):
            client.recv(10)
    with _dial(wire) as another:
        another.sendall(b"hello")
        assert another.recv(10) == b"hello"


def test_a_reset_ends_a_connection_that_stood(wire: Wire) -> None:
    with _dial(wire) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"
        with broken(wire, Fault(reset=True)):
            client.sendall(b"hello")
            assert _ends(client)


def test_a_truncated_answer_ends_after_its_bytes(wire: Wire) -> None:
    with broken(wire, Fault(answer_bytes=3)), _dial(wire) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"hel"
        assert _ends(client)


def test_a_dripping_answer_comes_byte_by_byte(wire: Wire) -> None:
    with broken(wire, Fault(answer_bytes_per_second=50)), _dial(wire) as client:
        client.sendall(b"hey")
        assert [client.recv(10) for _ in range(3)] == [b"h", b"e", b"y"]


def _ends(client: socket.socket) -> bool:
    try:
        return client.recv(10) == b""
    except ConnectionError:
        return True
