"""Settings are checked at once, and a wrong one says which and why."""

import json
import ssl
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.test_production import GOOD
from worker.addresses import BrokerAddress
from worker.settings import _LONGEST_SOCKET_PATH_BYTES, SettingsError, parse, socket_path

KEY = "ab" * 32
GIVEN = GOOD


def test_without_a_setting_retries_go_on_for_a_day(tmp_path: Path) -> None:
    """An outage of half a day must not cause failures that need manual action."""
    made = parse({"SIGNAL_VAR": str(tmp_path)})
    given = (made.retry_max_attempts, made.retry_backoff_base_seconds, made.retry_window_seconds)
    assert given == (5, 4.0, 86_400.0)


@pytest.mark.parametrize(
    ("given", "queues", "taken"),
    [
        ({}, ("events",), ("events",)),
        ({"EVENT_QUEUES": "3"}, ("events", "events-2", "events-3"), ("events", "events-2", "events-3")),
        (
            {"EVENT_QUEUES": "3", "INGEST_QUEUES": "3, 1"},
            ("events", "events-2", "events-3"),
            ("events", "events-3"),
        ),
    ],
)
def test_queues_of_events_are_numbered_and_the_first_keeps_its_name(
    tmp_path: Path, given: dict[str, str], queues: tuple[str, ...], taken: tuple[str, ...]
) -> None:
    made = parse({"SIGNAL_VAR": str(tmp_path), **given})
    assert (made.event_queues, made.ingest_queues) == (queues, taken)
    assert len(made.event_queues + made.unused_event_queues) == 32
    assert set(made.event_queues).isdisjoint(made.unused_event_queues)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "BROKER_URL",
            "http://broker",
            "must start with amqp://, redis://, rediss:// or sentinel://, not 'http'.",
        ),
        ("BROKER_URL", "localhost:6379", "must start with amqp://"),
        ("BROKER_URL", "redis://:hidden@host:port/0", "is not a valid address: the port must be a number"),
        ("BROKER_URL", "amqp://one;redis://two", "must have addresses of one kind."),
        ("BROKER_URL", "sentinel://one,two/0", "must name the primary that the sentinels watch"),
        ("BROKER_URL", "sentinel://one,,two/0?master=m", "must name the sentinels"),
        ("BROKER_URL", "sentinel://one:x/0?master=m", "is not a valid address"),
        ("BROKER_URL", "sentinel://one?master=m&ssl_cert_reqs=none", "must not have options of TLS"),
        ("BROKER_URL", "amqps://one?ssl_cert_reqs=none", "must not have options of TLS"),
        ("DATABASE_URL", "mysql://host/db", "must start with postgresql:// or sqlite:///, not 'mysql'."),
        (
            "DATABASE_URL",
            "postgresql://kim:hidden/word@host/db",
            "is not a valid address: the port must be a number",
        ),
        ("DATABASE_URL", "postgresql+psycopg://host:x/db", "is not a valid address"),
        ("DATABASE_URL", "postgresql://kim@one:x,two/db", "is not a valid address"),
        ("DATABASE_URL", "postgresql://kim@one,,two/db", "is not a valid address"),
        ("DATABASE_URL", "postgresql://kim@one,two/db?host=a", "not both"),
        (
            "DATABASE_URL",
            "postgresql://kim@/db?host=a,b,c&port=1,2",
            "one port, or one for each of its hosts",
        ),
        ("DATABASE_URL", "postgresql://kim@/db?host=a,b&port=x", "one port, or one for each of its hosts"),
        ("DATABASE_POOLER", "session", "must be transaction or unset, not 'session'."),
        ("DATABASE_URL", "sqlite://", "must name a file"),
        ("DATABASE_URL", "sqlite:///:memory:", "must name a file"),
        (
            "PINTEREST_API_URL",
            "api.pinterest.com",
            "must be an http or https address, not 'api.pinterest.com'.",
        ),
        ("PINTEREST_API_URL", "ftp://api.pinterest.com", "must be an http or https address"),
        ("PINTEREST_API_URL", "https://[broken", "is not a valid address"),
        ("PINTEREST_API_URL", "https://kim:hidden@api.pinterest.com", "must be an address without a user."),
        ("PINTEREST_API_URL", "http://127.0.0.1:8090", "unless ALLOW_SANDBOX=1 is set as well."),
        ("PINTEREST_APP_SECRET", "hidden", "and PINTEREST_APP_ID must be set together"),
        ("ALLOW_SANDBOX", "yes", "must be 0 or 1, not 'yes'."),
        ("PRODUCTION", "true", "must be 0 or 1, not 'true'."),
        ("ENCRYPTION_KEY", "short", "must be 64 hex digits (openssl rand -hex 32)."),
        ("ENCRYPTION_KEY", "zz" * 32, "must be 64 hex digits"),
        ("ENCRYPTION_KEY", f"{KEY},abc", "must be 64 hex digits"),
        ("ENCRYPTION_KEY", ",", "must be 64 hex digits"),
        ("ADMIN_TOKEN", "short", "must be at least 16 ASCII characters without spaces."),
        ("ADMIN_TOKEN", "sixteen characters", "must be at least 16 ASCII characters"),
        ("ADMIN_TOKEN", "adm_0123456789abcdé", "must be at least 16 ASCII characters"),
        ("FLOWER_BASIC_AUTH", "kim", "must be user:password, several by commas."),
        ("FLOWER_BASIC_AUTH", "kim:secret,", "must be user:password"),
        ("FLOWER_BASIC_AUTH", "kim:", "must be user:password"),
        ("ALERT_WEBHOOK_URL", "http://hooks.example.com/x", "must be an https address, unless"),
        ("ALERT_SLACK_URL", "http://hooks.example.com/x", "must be an https address, unless"),
        ("ALERT_EMAIL_TO", "anna@example.com, kim", "must be e-mail addresses, separated by commas"),
        ("ALERT_EMAIL_TO", "anna@example.com", "needs SMTP_URL and ALERT_EMAIL_FROM."),
        ("SMTP_URL", "mail.example.com", "must be like smtps://"),
        ("ALERT_WEBHOOK_URL", "https://kim:hidden@hooks.example.com", "must be an address without a user."),
        ("RATE_LIMIT_RPS", "fast", "must be a number, not 'fast'."),
        ("RATE_LIMIT_RPS", "0", "must be between 0.01 and 100000, not 0."),
        ("RATE_LIMIT_RPS", "nan", "must be between"),
        ("RATE_LIMIT_RPS", "inf", "must be between"),
        ("RATE_LIMIT_BURST", "1.5", "must be a whole number, not '1.5'."),
        ("RATE_LIMIT_BURST", "0", "must be between 1 and 100000, not 0."),
        ("RETRY_MAX_ATTEMPTS", "0", "must be between 1 and 100, not 0."),
        ("RETRY_BACKOFF_BASE", "-1", "must be between"),
        ("RETRY_WINDOW", "604800", "must be between"),
        ("DELIVERY_RATE_LIMIT", "100", "must be like 100/s, 6000/m or 9/h, not '100'."),
        ("DELIVERY_RATE_LIMIT", "0/s", "must be like"),
        ("DELIVERY_RATE_LIMIT", "inf/s", "must be like"),
        ("DELIVERY_RATE_LIMIT", "9/d", "must be like"),
        ("EVENT_QUEUES", "0", "must be between 1 and 32, not 0."),
        ("EVENT_QUEUES", "33", "must be between 1 and 32, not 33."),
        ("EVENT_QUEUES", "two", "must be a whole number, not 'two'."),
        (
            "INGEST_QUEUES",
            "1,2",
            "must be numbers from 1 to 1 (EVENT_QUEUES), separated by commas, not '2'.",
        ),
        ("INGEST_QUEUES", "events", "must be numbers from 1 to 1 (EVENT_QUEUES), separated by commas"),
        ("BATCH_INTERVAL", "0", "must be between 0.05 and 3600, not 0."),
        ("RETENTION_DAYS", "0.5", "must be between 1 and 3650, not 0.5."),
        ("TRUSTED_PROXIES", "10.0.0.0/8,proxy.local", "must list addresses or networks, not 'proxy.local'."),
        ("COLLECTOR_URL", "localhost:8080", "must be an http or https address"),
        ("MANAGEMENT_URL", "http://", "must be an http or https address"),
        ("FLOWER_URL", "https://host:port", "is not a valid address"),
        ("COLLECTOR_BIND", "8080", "must be an address and a port, like 127.0.0.1:8080, not '8080'."),
        ("FLOWER_BIND", "127.0.0.1:70000", "must be an address and a port, like 127.0.0.1:5555"),
    ],
)
def test_a_wrong_variable_is_named_with_the_reason(
    tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse({"SIGNAL_VAR": str(tmp_path), **GIVEN, name: value})
    assert (caught.value.name, str(caught.value).startswith(f"{name} ")) == (name, True)
    assert sentence in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "field", "expected"),
    [
        (
            {"BROKER_URL": "amqps://kim:pw@one;amqps://kim:pw@two/v"},
            "broker_url",
            "amqps://kim:pw@one;amqps://kim:pw@two/v",
        ),
        (
            {"BROKER_URL": "sentinels://:pw@one:26379,two/3?master=m&sentinel_password=s"},
            "broker",
            BrokerAddress(
                "sentinel://:pw@one:26379/3;sentinel://:pw@two/3",
                {"ssl_cert_reqs": ssl.CERT_REQUIRED},
                {
                    "master_name": "m",
                    "sentinel_kwargs": {
                        "socket_timeout": 4,
                        "socket_connect_timeout": 4,
                        "password": "s",
                        "ssl": True,
                        "ssl_cert_reqs": ssl.CERT_REQUIRED,
                    },
                },
            ),
        ),
        ({}, "retry_max_attempts", 5),
        ({}, "retry_backoff_base_seconds", 4.0),
        ({}, "retry_window_seconds", 86_400.0),
        ({}, "rate_limit_rps", 100.0),
        ({}, "rate_limit_burst", 200),
        ({}, "delivery_rate_limit", "100/s"),
        ({}, "batch_interval_seconds", 1.0),
        ({}, "retention_days", 30.0),
        ({}, "pinterest_api_url", "https://api.pinterest.com"),
        ({}, "collector_url", "http://127.0.0.1:8080"),
        # Otherwise `doctor` would query another service on the default port.
        ({"COLLECTOR_BIND": "10.0.0.5:9080"}, "collector_url", "http://10.0.0.5:9080"),
        ({"MANAGEMENT_BIND": "0.0.0.0:9084"}, "management_url", "http://127.0.0.1:9084"),
        ({"FLOWER_BIND": "[::]:6666"}, "flower_url", "http://127.0.0.1:6666"),
        ({"FLOWER_BIND": "[::1]:6666"}, "flower_url", "http://[::1]:6666"),
        ({"FLOWER_BIND": "[::1]:6666", "FLOWER_URL": "https://f.example"}, "flower_url", "https://f.example"),
        ({}, "trusted_proxies", ()),
        ({"BROKER_URL": " "}, "embedded_broker", True),
        ({"BROKER_URL": "amqp://guest@host//"}, "embedded_broker", False),
        ({"BROKER_URL": "valkey://host:6380/1"}, "broker_url", "redis://host:6380/1"),
        ({"DATABASE_URL": "postgres://kim@host/db"}, "database_url", "postgresql+psycopg://kim@host/db"),
        (
            {"DATABASE_URL": "postgresql://[::1]:5432/db"},
            "database_url",
            "postgresql+psycopg://[::1]:5432/db",
        ),
        ({"DATABASE_URL": "sqlite:////srv/l.db"}, "database_url", "sqlite:////srv/l.db"),
        ({"ENCRYPTION_KEY": f"{KEY}, {'cd' * 32}"}, "encryption_keys", (KEY, "cd" * 32)),
        ({"TRUSTED_PROXIES": "10.0.0.0/8, ::1"}, "trusted_proxies", ("10.0.0.0/8", "::1")),
        (
            {"PINTEREST_API_URL": "http://127.0.0.1:8090/", "ALLOW_SANDBOX": "1"},
            "pinterest_api_url",
            "http://127.0.0.1:8090",
        ),
        ({"RATE_LIMIT_BURST": "7"}, "rate_limit_burst", 7),
    ],
)
def test_settings_are_read_with_their_defaults(
    tmp_path: Path, environ: dict[str, str], field: str, expected: Any
) -> None:
    assert getattr(parse({"SIGNAL_VAR": str(tmp_path)} | environ), field) == expected


@pytest.mark.parametrize(
    "missing", ["ENCRYPTION_KEY", "ADMIN_TOKEN", "FLOWER_BASIC_AUTH", "FLOWER_COOKIE_SECRET"]
)
def test_in_production_nothing_is_generated(tmp_path: Path, missing: str) -> None:
    given = {name: value for name, value in GIVEN.items() if name != missing}
    with pytest.raises(SettingsError, match=f"{missing} must be set when PRODUCTION=1"):
        parse({"SIGNAL_VAR": str(tmp_path), **given})
    assert list(tmp_path.iterdir()) == []
    parse({"SIGNAL_VAR": str(tmp_path), **GIVEN})
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    var = tmp_path / "new" / "var"
    first, second = (parse({"SIGNAL_VAR": str(var)}) for _ in range(2))
    assert first == second
    assert stat.S_IMODE((var / "secrets.json").stat().st_mode) == 0o600
    assert [path.name for path in var.iterdir()] == ["secrets.json"]
    another = parse({"SIGNAL_VAR": str(tmp_path / "another")})
    assert another.encryption_keys != first.encryption_keys


def test_what_is_given_counts_more_than_what_was_made_up(tmp_path: Path) -> None:
    made = parse({"SIGNAL_VAR": str(tmp_path)})
    given = parse({"SIGNAL_VAR": str(tmp_path), "ADMIN_TOKEN": "adm_0123456789abcdef"})
    assert (given.admin_token, given.encryption_keys) == ("adm_0123456789abcdef", made.encryption_keys)


def test_processes_that_start_at_once_make_the_same_secrets(tmp_path: Path) -> None:
    code = "import os; from worker.settings import parse; print(parse(os.environ).encryption_keys)"
    environ = {"SIGNAL_VAR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate(timeout=30)[0] for process in processes}) == 1
    assert [process.returncode for process in processes] == [0] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.json"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"'])
def test_secrets_that_cannot_be_read_are_told_and_not_replaced(tmp_path: Path, content: str) -> None:
    """New keys would make everything that was sealed unreadable."""
    (tmp_path / "secrets.json").write_text(content)
    with pytest.raises(SettingsError, match=r"SIGNAL_VAR holds a secrets\.json that cannot be read"):
        parse({"SIGNAL_VAR": str(tmp_path)})
    assert (tmp_path / "secrets.json").read_text() == content


def test_a_secret_that_is_missing_from_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text(json.dumps({"ENCRYPTION_KEY": KEY}))
    with pytest.raises(SettingsError, match=r"ADMIN_TOKEN is neither set nor in the secrets\.json"):
        parse({"SIGNAL_VAR": str(tmp_path)})


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="SIGNAL_VAR"):
        parse({"SIGNAL_VAR": str(tmp_path / "file" / "var")})


def test_the_broker_listens_in_the_state_folder(tmp_path: Path) -> None:
    var = Path("/srv/signal")
    assert socket_path(var) == var / "valkey.sock"
    settings = parse({"SIGNAL_VAR": "/srv/signal", **GIVEN})
    assert settings.broker_url == "redis+socket:///srv/signal/valkey.sock?virtual_host=0"


@pytest.mark.parametrize("folder", ["/srv/" + "deep/" * 30, "/srv/with spaces"])
def test_a_path_that_no_socket_can_have_gives_way_to_a_short_one(folder: str) -> None:
    short, again, other = (socket_path(Path(one)) for one in (folder, folder, folder + "2"))
    assert short == again != other
    assert len(str(short)) <= _LONGEST_SOCKET_PATH_BYTES
    assert " " not in str(short)


@pytest.mark.parametrize("folder", ["/tmp/" + "deep/" * 30, "/tmp/with spaces"])
def test_a_long_folder_for_temporary_files_gives_way_as_well(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: folder)
    assert str(socket_path(Path("/srv/" + "deep/" * 30))).startswith("/tmp/signal-")


def test_a_webhook_needs_a_secret_and_may_be_private_where_its_host_is_named() -> None:
    url = {"ALERT_WEBHOOK_URL": "http://hooks.internal:9000/x"}
    hosts = {"ALERT_WEBHOOK_PRIVATE_HOSTS": "Hooks.internal, 10.0.0.7"}
    with pytest.raises(SettingsError, match=r"^ALERT_WEBHOOK_SECRET must be at least 16 characters"):
        parse(GIVEN | url | hosts)
    given = parse(GIVEN | url | hosts | {"ALERT_WEBHOOK_SECRET": "vY3kQz81mWpR7tLx"})
    assert given.alert_webhook_url == "http://hooks.internal:9000/x"
    assert given.alert_webhook_private_hosts == ("hooks.internal", "10.0.0.7")
    assert parse(GIVEN).alert_webhook_url == ""


@pytest.mark.parametrize(
    ("given", "hosts", "ports"),
    [
        ("postgresql://kim:a%40b@one:5432,two:5433/db", "one,two", "5432,5433"),
        ("postgres://kim:a%40b@one,two/db", "one,two", None),
        ("postgresql://kim:a%40b@one,two:5433,three/db", "one,two,three", ",5433,"),
        ("postgresql+psycopg://kim:a%40b@one,two/db", "one,two", None),
        (
            "postgresql://kim:a%40b@[fd00::1]:5432,[fd00::2]:5433/db",
            "fd00::1,fd00::2",
            "5432,5433",
        ),
        (
            "postgresql://kim:a%40b@10.0.0.1:6432,10.0.0.2:6432/db?sslmode=require",
            "10.0.0.1,10.0.0.2",
            "6432,6432",
        ),
        ("postgresql://kim:a%40b@/db?host=one,two", "one,two", None),
        ("postgresql://kim:a%40b@/db?host=one,two&port=5433", "one,two", "5433,5433"),
        ("postgresql://kim:a%40b@/db?host=one,two&port=5432,5433&sslmode=require", "one,two", "5432,5433"),
        ("postgresql://kim:a%40b@/db?host=one:5432,two:5433", "one,two", "5432,5433"),
        ("postgresql://kim:a%40b@/db?host=/run/one,/run/two", "/run/one,/run/two", None),
        ("postgresql://kim:a%40b@one,two/db?target_session_attrs=any", "one,two", None),
    ],
)
def test_several_hosts_reach_the_driver_in_either_form(
    tmp_path: Path, given: str, hosts: str, ports: str | None
) -> None:
    url = make_url(parse(GIVEN | {"SIGNAL_VAR": str(tmp_path), "DATABASE_URL": given}).database_url)
    _, arguments = url.get_dialect()().create_connect_args(url)
    assert (arguments["user"], arguments["password"], arguments["dbname"]) == ("kim", "a@b", "db")
    assert (arguments["host"], arguments.get("port", "").strip(",") or None) == (
        hosts,
        ports and ports.strip(","),
    )
    for name in ("sslmode", "target_session_attrs"):
        assert arguments.get(name) == url.query.get(name)
