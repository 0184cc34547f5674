"""The example of a subdomain of the shop's own works unchanged, with a real nginx in front of the collector."""

import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.collector.test_gunicorn import HEADERS, PAGE, ROOT, free_port, start, wait_until_up
from tests.integration.services import missing
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.schema import inbox as inbox_table

HOST = "data.your-shop.example"
EXAMPLE = ROOT / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
VISITOR = "127.0.0.2"

pytestmark = pytest.mark.services


class Proxy:
    """A running nginx with the example's server, on ports and with a certificate of its own."""

    def __init__(self, folder: Path, collector_port: int) -> None:
        self.folder, self.plain_port, self.port = folder, free_port(), free_port()
        self._certify()
        self._configure(collector_port)

    def _certify(self) -> None:
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem -subj"
        names = f"subjectAltName=DNS:{HOST},IP:127.0.0.1"
        subprocess.run(
            [*command.split(), f"/CN={HOST}", "-addext", names],
            cwd=self.folder,
            check=True,
            capture_output=True,
        )

    def _configure(self, collector_port: int) -> None:
        text = EXAMPLE.read_text()
        for what, instead in (
            ("127.0.0.1:8080", f"127.0.0.1:{collector_port}"),
            ("listen 80;", f"listen 127.0.0.1:{self.plain_port};"),
            ("listen 443 ", f"listen 127.0.0.1:{self.port} "),
            (f"/etc/letsencrypt/live/{HOST}/fullchain.pem", str(self.folder / "cert.pem")),
            (f"/etc/letsencrypt/live/{HOST}/privkey.pem", str(self.folder / "key.pem")),
        ):
            assert what in text
            text = text.replace(what, instead)
        paths = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.file = self.folder / "nginx.conf"
        self.file.write_text(
            f"pid {self.folder}/pid;\ndaemon off;\nerror_log {self.folder}/error.log info;\n"
            f"events {{}}\nhttp {{\n{paths}access_log {self.folder}/access.log;\n{text}\n}}\n"
        )

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[HTTPResponse, bytes]:
        """Ask over TLS, from the visitor's address, and check the certificate."""
        context = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        connection = HTTPSConnection(
            "127.0.0.1", self.port, timeout=20, context=context, source_address=(VISITOR, 0)
        )
        with closing(connection):
            connection.request(method, path, body, {"Host": HOST, **headers})
            answer = connection.getresponse()
            return answer, answer.read()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, ledger_file: Path) -> Iterator[tuple[Proxy, Ledger]]:
    if NGINX is None:
        missing("nginx is not installed")
    folder, collector_port = tmp_path_factory.mktemp("nginx"), free_port()
    url = f"sqlite:///{shutil.copy(ledger_file, folder / 'l.db')}"
    ledger, proxy = Ledger(url, ("00" * 32,)), Proxy(folder, collector_port)
    collector = start(folder, collector_port, DATABASE_URL=url, TRUSTED_PROXIES="127.0.0.1")
    nginx = subprocess.Popen(
        [str(NGINX), "-c", str(proxy.file), "-p", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        wait_until_up(collector_port)
        wait_until_up(proxy.port)
        yield proxy, ledger
    finally:
        for process in (nginx, collector):
            process.terminate()
            process.wait(30)
        if collector.stdout:
            collector.stdout.close()
        ledger.dispose()


def test_the_script_comes_over_tls(proxy: tuple[Proxy, Ledger]) -> None:
    answer, body = proxy[0].ask("GET", "/d.js")
    assert (answer.status, b"_df" in body) == (200, True)


def test_an_event_has_its_visitor_s_address_whatever_the_caller_claims(proxy: tuple[Proxy, Ledger]) -> None:
    answer, _ = proxy[0].ask("POST", "/v1/p", PAGE, **HEADERS, **{"X-Forwarded-For": "203.0.113.50"})
    assert answer.status == 200
    assert "_dfid=" in "".join(answer.headers.get_all("Set-Cookie") or ())
    ledger = proxy[1]
    with ledger.read() as connection:
        row = connection.execute(select(inbox_table).order_by(inbox_table.c.id.desc())).first()
    assert row is not None
    assert json.loads(ledger.vault.open(row.body, inbox.BODY))["received"]["ip"] == VISITOR


def test_a_body_that_is_too_large_does_not_reach_the_collector(proxy: tuple[Proxy, Ledger]) -> None:
    answer, body = proxy[0].ask("POST", "/v1/p", b" " * 5_000_000, **HEADERS)
    assert (answer.status, b"nginx" in body) == (413, True)


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
def test_what_is_for_the_machine_itself_stays_on_it(proxy: tuple[Proxy, Ledger], path: str) -> None:
    answer, body = proxy[0].ask("GET", path)
    assert (answer.status, b"nginx" in body) == (404, True)


def test_plain_http_leads_to_tls(proxy: tuple[Proxy, Ledger]) -> None:
    with closing(HTTPConnection("127.0.0.1", proxy[0].plain_port, timeout=20)) as connection:
        connection.request("GET", "/d.js", headers={"Host": HOST})
        answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{HOST}/d.js")


def test_no_log_of_nginx_has_an_address_a_key_or_a_click_id(proxy: tuple[Proxy, Ledger]) -> None:
    nginx, marks = proxy[0], (VISITOR, "pk_canary_4711", "dj0yJnU9canary")
    query = f"key={marks[1]}&_epik={marks[2]}"
    statuses = [
        nginx.ask(method, f"{path}?{query}", body, **HEADERS)[0].status
        for method, path, body in (
            ("POST", "/v1/p", b" " * 600_000),
            ("GET", "/metrics", None),
            ("GET", "/nothing/here", None),
            ("POST", "/v1/p", b"{"),
        )
    ]
    assert statuses[0] == 413
    raw = [
        f"GET /{query}{'x' * 40_000} HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
        f"GET /?{query} HTTP/9.9\r\nHost: {HOST}\r\n\r\n",
        f"GET /?{query} HTTP/1.1\r\nHost: a b\r\n\r\n",
        f"POST /v1/p?{query} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 99999999\r\n\r\n",
        f"POST /v1/p?{query} HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        f"POST /v1/p?{query} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 500\r\n\r\n",
        "\x16\x03 no TLS",
    ]
    for text in raw:
        _send_raw(nginx.plain_port, text)
        _send_raw(nginx.port, text, nginx.folder / "cert.pem")
    _send_raw(nginx.port, raw[0])
    logged = "".join(path.read_text(errors="replace") for path in nginx.folder.glob("*.log"))
    assert [mark for mark in marks if mark in logged] == []


def test_nothing_of_a_request_is_logged_while_the_collector_is_away(tmp_path: Path) -> None:
    if NGINX is None:
        missing("nginx is not installed")
    nginx = Proxy(tmp_path, free_port())
    process = subprocess.Popen(
        [str(NGINX), "-c", str(nginx.file), "-p", str(tmp_path)], stderr=subprocess.DEVNULL
    )
    try:
        wait_until_up(nginx.port)
        assert nginx.ask("POST", "/v1/p?key=pk_canary_4711", PAGE, **HEADERS)[0].status == 502
    finally:
        process.terminate()
        process.wait(30)
    logged = "".join(path.read_text(errors="replace") for path in tmp_path.glob("*.log"))
    assert (VISITOR in logged, "pk_canary" in logged) == (False, False)


def _send_raw(port: int, text: str, certificate: Path | None = None) -> None:
    """Send bytes that no client library would, from the visitor's address, and hang up."""
    with closing(socket.create_connection(("127.0.0.1", port), 5, (VISITOR, 0))) as plain:
        wire = plain
        if certificate is not None:
            context = ssl.create_default_context(cafile=str(certificate))
            wire = context.wrap_socket(plain, server_hostname=HOST)
        # nginx may hang up before it has read everything.
        with closing(wire), suppress(OSError):
            wire.sendall(text.encode("latin-1"))
            wire.settimeout(0.3)
            wire.recv(4_096)
