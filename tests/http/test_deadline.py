"""Requests to servers that drip, cut, reset and stall end within their deadline, and report whether they were sent."""

import datetime
import ipaddress
import os
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.http.raw_server import (
    GOOD,
    Behaviour,
    Connect,
    Serve,
    answers,
    answers_and_closes,
    drips,
    resets,
    send,
    stalls,
    whole,
)
from worker.http import deadline
from worker.pinterest.client.client import SendFailure

# What Pinterest may have


@pytest.mark.parametrize(
    ("behaviour", "status", "detail"),
    [
        # Accepted, then silence: the read timeout.
        (stalls, None, "no answer came in time"),
        (resets(), None, "the connection was reset"),
        (answers_and_closes(b""), None, "the connection was closed without an answer"),
        # Neither half a header nor half of the headers is a response.
        (answers_and_closes(b"HTTP/1.1 200 OK\r\nContent-Le"), None, "the answer was cut off"),
        (answers_and_closes(b"HTTP/1.1 200 OK\r\nServer: x\r\n"), None, "the answer was cut off"),
        # The status is known, the events' outcomes are not.
        (answers_and_closes(whole()[:-20]), 200, "the answer was cut off"),
        (resets(whole()[:-20]), 200, "the connection was reset"),
        (
            answers_and_closes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{"),
            200,
            "the answer was cut off",
        ),
        (answers_and_closes(b"SSH-2.0-OpenSSH_9.6\r\n"), None, "the answer is not HTTP"),
        # A header that never ends.
        (answers(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000), None, "the answer is not HTTP"),
        # Two lengths cannot both be true.
        (answers(whole(headers="Content-Length: 5\r\n")), None, "the connection broke"),
    ],
)
def test_a_request_without_a_whole_answer_is_unknown(
    serve: Serve, connect: Connect, behaviour: Behaviour, status: int | None, detail: str
) -> None:
    server = serve(behaviour)

    answer = send(connect(server.url, read=0.2))

    assert (answer.failure, answer.detail, len(server.requests)) == (SendFailure.UNKNOWN, detail, 1)
    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize(
    "data",
    [
        # Headers that drip.
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: 1\r\n" * 40,
        # A body that drips.
        whole(b" " * 400),
        # An endless row of provisional answers.
        b"HTTP/1.1 100 Continue\r\n\r\n" * 40,
        # Chunks that drip.
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 100,
    ],
)
def test_a_dripping_answer_is_cut_at_the_deadline(serve: Serve, connect: Connect, data: bytes) -> None:
    """The read timeout of requests applies to each read, so a dripping answer could outlast any lease."""
    server = serve(drips(data))

    started = time.monotonic()
    answer = send(connect(server.url, deadline=0.4))

    assert 0.4 <= time.monotonic() - started < 2.0
    assert (answer.failure, answer.detail) == (SendFailure.UNKNOWN, "the total deadline of 0.4 s passed")
    assert 0.4 <= answer.seconds < 2.0


def test_the_deadline_holds_on_a_connection_that_is_used_again(serve: Serve, connect: Connect) -> None:
    server = serve(answers(whole()))
    client = connect(server.url, deadline=0.4)
    send(client)
    server.behaviour = drips(whole())

    answer = send(client)

    assert (answer.failure, server.connections) == (SendFailure.UNKNOWN, 1)
    assert answer.seconds < 2.0


def test_a_batch_that_the_server_does_not_read_to_its_end_was_not_sent(connect: Connect) -> None:
    """A body that is cut off is not JSON, so Pinterest cannot have accepted it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = connect(f"http://127.0.0.1:{listener.getsockname()[1]}", deadline=0.3)

        answer = send(client, body=b" " * 20_000_000)

    assert (answer.failure, answer.detail) == (SendFailure.NOT_SENT, "the total deadline of 0.3 s passed")


def test_a_refused_connection_was_not_sent(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    answer = send(connect(f"http://127.0.0.1:{port}"))

    assert (answer.failure, answer.detail) == (SendFailure.NOT_SENT, "the connection was refused")


def test_a_request_to_an_unknown_host_was_not_sent(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    answer = send(connect("http://nowhere.invalid"))

    assert (answer.failure, answer.detail) == (SendFailure.NOT_SENT, "the host name was not found")


def test_every_address_of_a_host_is_tried(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answers(whole()))
    addresses = socket.getaddrinfo("127.0.0.1", server.port, type=socket.SOCK_STREAM)
    dead = [(*entry[:4], ("127.0.0.1", 1)) for entry in addresses]
    lookup = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, *args, **kwargs: (
            dead + addresses if host == "two.test" else lookup(host, port, *args, **kwargs)
        ),
    )

    answer = send(connect(f"http://two.test:{server.port}"))

    assert answer.status == 200


def test_nothing_is_sent_once_a_slow_resolver_used_up_the_time(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease ends with the deadline: after it, another worker may hold the batch."""
    server = serve(answers(whole()))
    lookup = socket.getaddrinfo

    def slow(*args: object, **kwargs: object) -> object:
        time.sleep(0.15)
        return lookup(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    answer = send(connect(server.url, deadline=0.1))

    assert (answer.failure, server.requests) == (SendFailure.NOT_SENT, [])


# Connections


def test_a_thread_keeps_its_connection(serve: Serve, connect: Connect) -> None:
    server = serve(answers(whole()))
    client = connect(server.url)

    for _ in range(3):
        send(client)

    assert (server.connections, len(server.requests)) == (1, 3)


def test_each_thread_has_a_connection_of_its_own(serve: Serve, connect: Connect) -> None:
    server = serve(answers(whole()))
    client = connect(server.url)

    def work() -> None:
        send(client)
        client.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert server.connections == 2


def test_a_forked_child_does_not_write_on_its_parents_connection(serve: Serve, connect: Connect) -> None:
    server = serve(answers(whole()))
    client = connect(server.url)
    send(client)
    parent = client._session()
    actual_pid = os.getpid

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: actual_pid() + 1)
        child = client._session()
        send(client)
        client.close()
    parent.close()

    assert child is not parent
    assert server.connections == 2


def test_a_connection_that_the_other_side_closed_while_idle_is_not_used(
    serve: Serve, connect: Connect
) -> None:
    server = serve(answers_and_closes(whole()))
    client = connect(server.url)
    send(client)
    time.sleep(0.05)

    answer = send(client)

    assert (answer.status, answer.failure, server.connections) == (200, None, 2)


def test_a_connection_that_was_idle_for_long_is_replaced_before_the_server_closes_it(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answers(whole()))
    client = connect(server.url)
    send(client)
    monkeypatch.setattr(deadline, "_MAX_IDLE_SECONDS", 0.0)

    send(client)

    assert server.connections == 2


def test_a_kept_connection_that_dies_under_the_request_is_unknown(serve: Serve, connect: Connect) -> None:
    """It looks like an idle close, but the server may have accepted the batch and then crashed."""
    server = serve(answers(whole()))
    client = connect(server.url)
    send(client)
    server.behaviour = resets()

    answer = send(client)

    assert (answer.failure, server.connections) == (SendFailure.UNKNOWN, 1)


# TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a self-signed certificate for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))


def test_an_untrusted_certificate_is_refused_before_a_byte_is_sent(
    serve: Serve, connect: Connect, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    server = serve(answers(whole()), tls)

    answer = send(connect(server.url))

    assert (answer.failure, server.requests) == (SendFailure.NOT_SENT, [])
    assert answer.detail == "the server's certificate is not trusted"


def test_nothing_is_sent_to_a_server_without_tls(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        answer = send(connect(url))
        thread.join()

    assert answer.failure is SendFailure.NOT_SENT


def test_a_handshake_that_stalls_was_not_sent(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answer = send(connect(f"https://127.0.0.1:{listener.getsockname()[1]}", connect=0.2))

    assert (answer.failure, answer.detail) == (SendFailure.NOT_SENT, "connecting or sending took too long")
    assert answer.seconds < 1.5


@pytest.mark.usefixtures("trusted")
def test_a_trusted_server_gets_the_request_and_its_connection_is_kept(
    serve: Serve, connect: Connect, tls: ssl.SSLContext
) -> None:
    server = serve(answers(whole()), tls)
    client = connect(server.url, read=2, deadline=3)

    first, second = send(client), send(client)

    assert [(a.status, a.body) for a in (first, second)] == [(200, GOOD), (200, GOOD)]
    assert server.connections == 1


@pytest.mark.usefixtures("trusted")
def test_a_dripping_answer_over_tls_is_cut_at_the_deadline(
    serve: Serve, connect: Connect, tls: ssl.SSLContext
) -> None:
    server = serve(drips(whole()), tls)

    answer = send(connect(server.url, deadline=0.6))

    assert (answer.failure, answer.detail) == (SendFailure.UNKNOWN, "the total deadline of 0.6 s passed")
    assert answer.seconds < 2.0


@pytest.mark.usefixtures("trusted")
def test_an_answer_over_tls_that_is_cut_is_unknown(
    serve: Serve, connect: Connect, tls: ssl.SSLContext
) -> None:
    server = serve(answers_and_closes(whole()[:-20]), tls)

    answer = send(connect(server.url))

    assert (answer.failure, answer.detail) == (SendFailure.UNKNOWN, "the answer was cut off")
