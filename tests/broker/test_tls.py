"""A broker is reached over TLS only if its certificate is good and for its host."""

import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Queue

from tests.certificates import Authority
from tests.chaos.brokers import redis_server
from tests.chaos.wire import wired
from tests.integration import services
from tests.test_production import GOOD
from worker.broker.kombu_internals import patch_amqp_host_name_check
from worker.broker.publisher import HintPublisher
from worker.broker.queues import queue_states
from worker.doctor import checkup
from worker.monitoring import broker_check
from worker.settings import SettingsError, parse

# Redis sends the authority's certificate too.
UNKNOWN = "(unable to get local issuer|self-signed) certificate"


@dataclass(frozen=True)
class Site:
    """Two authorities; the servers' certificates are of the first."""

    authority: Authority
    other: Authority
    folder: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("tls")
    return Site(Authority(folder / "a"), Authority(folder / "b"), folder)


@contextmanager
def tls_front(files: tuple[Path, Path], port: int, authority: Path) -> Iterator[int]:
    """Accept TLS on a port of its own, only with a client's certificate, and pass on to another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    with wired((services.HOST, port), context) as front:
        yield front.port


@contextmanager
def broker(kind: str, site: Site, files: tuple[Path, Path]) -> Iterator[str]:
    """Run a server of this kind with a certificate; lend its address, with %s for the host."""
    with ExitStack() as held:
        if kind == "redis":
            port = services.free_port()
            options = {"tls-port": port, "tls-cert-file": files[0], "tls-key-file": files[1]}
            options["tls-ca-cert-file"] = site.authority.path
            held.enter_context(redis_server(site.folder / files[0].name, options))
            yield f"rediss://%s:{port}/0"
            return
        url = held.enter_context(services.rabbitmq_url())
        port = held.enter_context(tls_front(files, services.PORTS["rabbitmq"], site.authority.path))
        yield f"amqps://guest:guest@%s:{port}/{url.rpartition('/')[2]}"


def environment(site: Site, url: str, authority: Authority) -> dict[str, str]:
    cert, key = map(str, site.authority.issue("client"))
    given = {"BROKER_URL": url, "BROKER_CA": str(authority.path), "BROKER_CERT": cert, "BROKER_KEY": key}
    return GOOD | given | {"SIGNAL_VAR": str(site.folder / "var"), "PRODUCTION": "0"}


def app_of(environ: dict[str, str]) -> Celery:
    """Return an app with the settings of celeryconfig.py that are about the connection."""
    made = parse(environ).broker
    app = Celery("tls", broker=made.url, set_as_current=False)
    app.conf.broker_use_ssl = made.tls and dict(made.tls)
    is_amqp = made.url.startswith("amqp")
    app.conf.broker_transport_options = {"confirm_publish": True} if is_amqp else {"socket_timeout": 5}
    app.conf.broker_connection_timeout = 2
    app.conf.task_queues = [Queue("events", routing_key="events")]
    patch_amqp_host_name_check()
    return app


KINDS = [pytest.param("redis", marks=pytest.mark.services), pytest.param("amqp", marks=pytest.mark.services)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_good_certificate_is_accepted_and_all_others_are_refused_with_a_sentence(
    kind: str, site: Site
) -> None:
    with broker(kind, site, site.authority.issue("localhost")) as url:
        good = environment(site, url % "localhost", site.authority)
        assert broker_check.check_broker(app_of(good).connection_for_write).message == "The broker answers."
        refused = {
            "127.0.0.1": (site.authority, "mismatch, certificate is not valid for"),
            "localhost": (site.other, UNKNOWN),
        }
        for host, (authority, why) in refused.items():
            found = broker_check.check_broker(
                app_of(environment(site, url % host, authority)).connection_for_write
            )
            assert found.message.startswith("The broker's certificate is refused: ")
            assert re.search(why, found.message)
    with broker(kind, site, site.authority.issue("localhost", days=-1)) as url:
        app = app_of(environment(site, url % "localhost", site.authority))
        found = broker_check.check_broker(app.connection_for_write)
        assert found.message == "The broker's certificate is refused: certificate has expired."


@pytest.mark.parametrize("kind", KINDS)
def test_hints_and_looks_go_over_tls_also_after_a_reconnect(kind: str, site: Site) -> None:
    with broker(kind, site, site.authority.issue("localhost")) as url:
        app = app_of(environment(site, url % "localhost", site.authority))
        publisher = HintPublisher(app)
        publisher.offer(range(1_000))
        publisher.close(10)

        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1)
            connection.collect()
            (state,) = queue_states(connection, ["events"])
            days: Any = checkup._certificate_days_left(connection)
        assert (state.messages, publisher.stats()["published"]) == (1_000, 1_000)
        assert 29 < days <= 30


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_doctor_and_every_process_go_by_these_settings(kind: str, site: Site) -> None:
    with broker(kind, site, site.authority.issue("localhost")) as url:
        for authority, sentence in (
            (site.authority, "The broker's certificate and host name are checked."),
            (site.other, f"The broker's certificate is refused: {UNKNOWN}"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "worker", "doctor"],
                env=environment(site, url % "localhost", authority),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert re.search(sentence, done.stdout), done.stdout + done.stderr


def test_a_cluster_s_certificates_are_checked_for_each_of_its_hosts(site: Site) -> None:
    """The first host does not answer, and the second has a certificate for the first."""
    with tls_front(site.authority.issue("127.0.0.1"), 1, site.authority.path) as port:
        url = f"amqps://guest:guest@127.0.0.1:1//;amqps://guest:guest@localhost:{port}//"
        app = app_of(environment(site, url, site.authority))
        with app.connection_for_write() as connection:
            with pytest.raises(ConnectionRefusedError):
                connection.transport.establish_connection()
            connection.maybe_switch_next()
            with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 'localhost'"):
                connection.transport.establish_connection()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"BROKER_CA": "absent"}, "BROKER_CA must be a file of PEM certificates"),
        ({"BROKER_KEY": ""}, "BROKER_CERT and BROKER_KEY must be set together"),
        ({"BROKER_KEY": "absent"}, "BROKER_CERT and BROKER_KEY must be files of a PEM certificate"),
        ({"BROKER_URL": "amqp://localhost"}, "BROKER_CA needs a BROKER_URL with amqps://"),
        ({"BROKER_URL": ""}, "BROKER_CA needs a BROKER_URL with amqps://"),
        ({"BROKER_URL": "rediss://localhost?ssl_cert_reqs=none"}, "BROKER_URL must not have options of TLS"),
    ],
)
def test_files_that_cannot_be_used_stop_the_start(site: Site, changed: dict[str, str], sentence: str) -> None:
    environ = environment(site, "rediss://localhost", site.authority) | changed
    with pytest.raises(SettingsError, match=sentence):
        parse(environ)
