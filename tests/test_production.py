"""With PRODUCTION=1 a setting that opens a door is refused with one sentence."""

import os
import secrets
import stat
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from worker.production import find_refusals
from worker.settings import SettingsError, parse

KEY = "957003e947d057bfd80a74d35bf69f45a80b1b9bf1a2ea141f627433e991f30e"
GOOD = {
    "PRODUCTION": "1",
    "ENCRYPTION_KEY": KEY,
    "ADMIN_TOKEN": "adm_m6qqLLyENCpj2DZPGGlYHavh",
    "FLOWER_BASIC_AUTH": "kim:844dbfb723ca764aeff7e4b4",
    "FLOWER_COOKIE_SECRET": "9c190b23b6f7521e1afa60a58945ce5ad5a027c5116deaa2",
}
GUESSED = "can be guessed"


def refusals(**changed: str) -> list[tuple[str, str]]:
    return list(find_refusals(GOOD | changed))


@pytest.mark.parametrize(
    "key",
    [
        "00" * 32,
        "ff" * 32,
        "ab" * 32,
        "deadbeef" * 8,
        "0123456789abcdef" * 4,
        KEY[:16] * 4,
        "".join(f"{n:02x}" for n in range(32)),
        "".join(f"{n:02x}" for n in range(255, 223, -1)),
        "".join(f"{n % 256:02x}" for n in range(0, 32 * 7, 7)),
        b"This is our secret master key!!!".hex(),
        b"a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6".hex(),
        "00" * 31 + "01",
        "00" * 16 + KEY[:32],
        f"{'00' * 32},{KEY}",
    ],
)
def test_a_master_key_that_can_be_guessed_is_refused(key: str) -> None:
    (refused,) = refusals(ENCRYPTION_KEY=key)
    assert refused[0] == "ENCRYPTION_KEY"
    assert GUESSED in refused[1]


def test_a_weak_key_may_be_rotated_out() -> None:
    assert refusals(ENCRYPTION_KEY=f"{KEY},{'00' * 32}") == []


@pytest.mark.parametrize(
    "name", ["ADMIN_TOKEN", "METRICS_TOKEN", "FLOWER_COOKIE_SECRET", "ALERT_WEBHOOK_SECRET"]
)
@pytest.mark.parametrize(
    "secret",
    [
        "a" * 16,
        "A" * 64,
        "x7Kq9" * 4,
        "0123456789abcdef",
        "fedcba9876543210",
        "abcdefghijklmnopqrstuvwxyz",
        "adm_0123456789abcdef",
        "changeme-changeme",
        "Change-Me-Please-123456",
        "my-secret-admin-token",
        "your_token_goes_here",
        "password12345678",
        "Passw0rd-password-1",
        "qwertyuiopasdfghjkl",
        "default-secret-value",
        "aaaaaaaabbbbbbbb",
        "1212121212121212",
        "ADMIN_TOKEN_ADMIN_TOKEN",
        "a-token-of-the-tests",
        "signal-worker-secret",
    ],
)
def test_a_token_that_can_be_guessed_is_refused(name: str, secret: str) -> None:
    assert [(one, GUESSED in why) for one, why in refusals(**{name: secret})] == [(name, True)]


@pytest.mark.parametrize(
    "login",
    [
        "a:b",
        "flower:flower",
        "admin:admin",
        "user:password",
        "kim:secret",
        "kim:short-one",
        "kim:aaaaaaaaaaaaaaaa",
        "kim:passwordpassword",
        "kim:flowerpassword1",
        "root:123456789012",
        "good:pWm3-qZ81xKv9,a:b",
        "long.user.name.42:long.user.name.42",
    ],
)
def test_a_password_for_flower_that_can_be_guessed_is_refused(login: str) -> None:
    refused = refusals(FLOWER_BASIC_AUTH=login)
    assert [name for name, _ in refused] == ["FLOWER_BASIC_AUTH"]
    assert "secret" not in refused[0][1]


def test_random_secrets_are_accepted() -> None:
    random = Random(14)
    for _ in range(1_000):
        key, token, password = (random.randbytes(size).hex() for size in (32, 24, 12))
        assert refusals(ENCRYPTION_KEY=key, ADMIN_TOKEN=token, FLOWER_BASIC_AUTH=f"flower:{password}") == []


def test_what_the_first_start_generates_is_good_enough() -> None:
    made = {
        "ADMIN_TOKEN": f"adm_{secrets.token_urlsafe(24)}",
        "FLOWER_BASIC_AUTH": f"f:{secrets.token_urlsafe(12)}",
    }
    assert refusals(**made) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METRICS_TOKEN", GOOD["ADMIN_TOKEN"]),
        ("ADMIN_TOKEN", KEY),
        ("FLOWER_COOKIE_SECRET", GOOD["ADMIN_TOKEN"]),
        ("FLOWER_BASIC_AUTH", f"kim:{GOOD['ADMIN_TOKEN']}"),
        ("ALERT_WEBHOOK_SECRET", GOOD["ADMIN_TOKEN"]),
    ],
)
def test_one_secret_for_two_purposes_is_refused(name: str, value: str) -> None:
    (refused,) = refusals(**{name: value})
    assert refused[0] == name
    assert "must differ from" in refused[1]
    assert value not in refused[1]


@pytest.mark.parametrize(
    "networks",
    [
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1",
        "128.0.0.0/1,127.0.0.1",
        "0.0.0.0/1, 128.0.0.0/1",
        "10.0.0.0/8, ::/0",
        "64.0.0.0/2",
        "8.0.0.0/7",
        "8.0.0.0/8, 9.0.0.0/8",
        "2000::/3",
        "2000::/4",
        "2a00::/12",
        "::/1",
        "::ffff:0:0/96",
        "::ffff:0.0.0.0/97",
        "::/64",
    ],
)
def test_trusting_the_internet_is_refused(networks: str) -> None:
    (refused,) = refusals(TRUSTED_PROXIES=networks)
    assert refused[0] == "TRUSTED_PROXIES"
    assert "large part of the internet" in refused[1]


@pytest.mark.parametrize(
    "networks",
    [
        "127.0.0.1",
        "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16",
        "fc00::/7,fe80::/10,::1",
        # Cloudflare and a load balancer of Google.
        "173.245.48.0/20,104.16.0.0/13,2400:cb00::/32,2a06:98c0::/29",
        "35.191.0.0/16,130.211.0.0/22",
        "::ffff:10.0.0.0/104",
    ],
)
def test_the_networks_of_proxies_are_accepted(networks: str) -> None:
    assert refusals(TRUSTED_PROXIES=networks) == []


REFUSED = [
    ("PINTEREST_API_URL", "http://api.pinterest.com", "must be an https address"),
    ("PINTEREST_API_URL", "http://sandbox.example.com:8090", "must be an https address"),
    ("PINTEREST_API_URL", "http://203.0.113.7", "must be an https address"),
    ("PINTEREST_API_URL", "http://[2001:db8::7]/v5", "must be an https address"),
    ("PINTEREST_API_URL", "http://[::ffff:8.8.8.8]", "must be an https address"),
    ("BROKER_URL", "amqp://guest:guest@rabbitmq:5672//", "RabbitMQ's user guest"),
    ("BROKER_URL", "amqp://rabbitmq", "RabbitMQ's user guest"),
    ("BROKER_URL", "amqps://guest:Xq3vT9pLm2Kd@mq.shop.example", "RabbitMQ's user guest"),
    ("BROKER_URL", "amqp://signal:signal@rabbitmq/v", "can be guessed"),
    ("BROKER_URL", "amqps://signal:changeme@mq.shop.example/v", "can be guessed"),
    ("BROKER_URL", "redis://:password@redis/0", "can be guessed"),
    ("BROKER_URL", "rediss://203.0.113.9:6379/0", "needs a password"),
    ("BROKER_URL", "redis://:Xq3vT9pLm2Kd@203.0.113.9/0", "must be encrypted"),
    ("BROKER_URL", "amqp://signal:Xq3vT9pLm2Kd@[2001:db8::9]/v", "must be encrypted"),
    ("BROKER_URL", "rediss://:Xq3vT9pLm2Kd@redis.shop.example/0?ssl_cert_reqs=none", "check of certificates"),
    (
        "BROKER_URL",
        "rediss://:Xq3vT9pLm2Kd@redis.shop.example/0?ssl_cert_reqs=CERT_NONE",
        "check of certificates",
    ),
    ("BROKER_URL", "amqps://a:Xq3vT9pLm2Kd@one/v;amqps://a:a@two/v", "can be guessed"),
    ("BROKER_URL", "sentinel://:Xq3vT9pLm2Kd@redis,203.0.113.9/0?master=m", "must be encrypted"),
    ("DATABASE_URL", "postgresql://postgres:postgres@db.shop.example/s", "can be guessed"),
    ("DATABASE_URL", "postgresql://signal:secret@db/s", "can be guessed"),
    ("DATABASE_URL", "postgresql://signal:Xq3vT9pLm2Kd@203.0.113.9/s", "must be encrypted"),
    (
        "DATABASE_URL",
        "postgresql://signal:Xq3vT9pLm2Kd@10.0.0.5:5432,203.0.113.9:5432/s",
        "must be encrypted",
    ),
    ("DATABASE_URL", "postgresql://signal:Xq3vT9pLm2Kd@/s?host=10.0.0.5,203.0.113.9", "must be encrypted"),
    ("DATABASE_URL", "postgresql://signal:Xq3vT9pLm2Kd@/s?host=10.0.0.5&host=8.8.8.8", "must be encrypted"),
    ("DATABASE_URL", "postgresql://signal:secret@127.0.0.1,db.shop.example/s", "can be guessed"),
    ("DATABASE_URL", "postgresql://signal:Xq3vT9pLm2Kd@203.0.113.9/s?sslmode=disable", "must be encrypted"),
    ("ALERT_WEBHOOK_PRIVATE_HOSTS", "hooks.internal, 169.254.169.254", "a cloud's metadata"),
    ("LOCAL_CLIENT_IP", "203.0.113.50", "trials on one machine"),
    ("FLASK_DEBUG", "1", "must not be set when PRODUCTION=1"),
    ("FLOWER_DEBUG", "True", "must not be set"),
    ("FLOWER_UNAUTHENTICATED_API", "yes", "opens Flower's API"),
    ("PYTHONINSPECT", "x", "must not be set"),
    ("SSLKEYLOGFILE", "/tmp/keys", "keys of encrypted connections"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), REFUSED)
def test_an_open_door_is_refused_with_one_sentence(
    name: str, value: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(GOOD | {"SIGNAL_VAR": str(tmp_path), "ALLOW_SANDBOX": "1", name: value})
    said = str(caught.value)
    assert (said.startswith(f"{name} "), sentence in said, "\n" in said) == (True, True, False)
    assert "Xq3vT9pLm2Kd" not in said


@pytest.mark.parametrize(("name", "value", "_sentence"), REFUSED)
def test_without_production_it_is_accepted(name: str, value: str, _sentence: str, tmp_path: Path) -> None:
    parse({"SIGNAL_VAR": str(tmp_path), "ALLOW_SANDBOX": "1", name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PINTEREST_API_URL", "http://127.0.0.1:8090"),
        ("PINTEREST_API_URL", "http://sandbox:8090"),
        ("PINTEREST_API_URL", "http://10.0.0.7:8090"),
        ("PINTEREST_API_URL", "https://sandbox.shop.example"),
        ("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//"),
        ("BROKER_URL", "amqp://signal:Xq3vT9pLm2Kd@rabbitmq:5672/signal"),
        ("BROKER_URL", "redis://redis:6379/0"),
        ("BROKER_URL", "redis://redis.prod.svc.cluster.local:6379/0"),
        ("BROKER_URL", "redis://shop.abc.cache.amazonaws.com:6379/0"),
        ("BROKER_URL", "rediss://:Xq3vT9pLm2Kd@203.0.113.9:6379/0"),
        ("DATABASE_URL", "postgresql://signal:Xq3vT9pLm2Kd@postgresql:5432/signal"),
        ("DATABASE_URL", "postgresql://signal:Xq3vT9pLm2Kd@203.0.113.9/s?sslmode=verify-full"),
        ("DATABASE_URL", "postgresql:///signal?host=/run/postgresql"),
        ("ALERT_WEBHOOK_PRIVATE_HOSTS", "hooks.internal"),
        ("FLASK_DEBUG", "0"),
    ],
)
def test_usual_settings_of_production_are_accepted(name: str, value: str, tmp_path: Path) -> None:
    parse(GOOD | {"SIGNAL_VAR": str(tmp_path), "ALLOW_SANDBOX": "1", name: value})


def _modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def _in_a_process(code: str, var: Path, **environ: str) -> None:
    command = [sys.executable, "-c", f"import os; os.umask(0o022)\n{code}"]
    given = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "SIGNAL_VAR": str(var),
        **environ,
    }
    subprocess.run(command, env=given, check=True, timeout=60)


READ_SETTINGS = "from worker.settings import settings; settings()\n"


def test_a_process_makes_files_for_its_own_user_only(tmp_path: Path) -> None:
    var = tmp_path / "var"
    _in_a_process(f"{READ_SETTINGS}open(os.environ['SIGNAL_VAR'] + '/new', 'w')", var)
    assert stat.S_IMODE(var.stat().st_mode) == 0o700
    assert _modes(var) == {"new": 0o600, "secrets.json": 0o600}


def test_files_of_earlier_releases_are_closed_to_other_users(tmp_path: Path) -> None:
    var, elsewhere = tmp_path / "var", tmp_path / "ledger.db"
    (var / "valkey" / "appendonlydir").mkdir(parents=True)
    ours = ["signal.db", "signal.db-wal", "flower.dat", "beat.dat", "valkey/appendonlydir/appendonly.aof"]
    for path in [*(var / name for name in ours), elsewhere]:
        path.write_text("")
        path.chmod(0o644)
    (var / "flower.link").symlink_to(elsewhere)
    var.chmod(0o755)
    _in_a_process(READ_SETTINGS, var)
    modes = _modes(var)
    assert {name: modes[name] for name in ours} == dict.fromkeys(ours, 0o600)
    assert (modes["valkey"], stat.S_IMODE(var.stat().st_mode)) == (0o700, 0o700)
    # A link leads to a file that may be another program's.
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644
    _in_a_process(READ_SETTINGS, var, DATABASE_URL=f"sqlite:///{elsewhere}")
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o600


def test_a_folder_of_others_keeps_its_mode(tmp_path: Path) -> None:
    """The state folder may be a common one, like /tmp."""
    tmp_path.chmod(0o755)
    _in_a_process(READ_SETTINGS, tmp_path, **GOOD)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    (tmp_path / "signal.db").write_text("")
    tmp_path.chmod(0o1777)
    _in_a_process(READ_SETTINGS, tmp_path, **GOOD)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
