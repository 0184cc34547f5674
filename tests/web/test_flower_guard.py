"""Flower's answers are protected, and guessing its password is refused."""

import os
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import requests

from tests.collector.test_gunicorn import free_port, wait_until_up

ROOT = Path(__file__).parents[2]
RIGHT = ("kim", "pass:wörd-of-the-tests")
PATHS = [
    "/",
    "/workers",
    "/tasks",
    "/broker",
    "/task/none",
    "/worker/none",
    "/api/workers",
    "/api/task/types",
    "/metrics",
    "/healthcheck",
    "/login",
    "/nothing/here",
    "/static/js/flower.js",
    "/static/none",
]


@pytest.fixture(scope="module")
def flower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run Flower without a broker; its pages are empty."""
    port, var = free_port(), tmp_path_factory.mktemp("v")
    environment = os.environ | {
        "SIGNAL_VAR": str(var),
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "FLOWER_BIND": f"127.0.0.1:{port}",
        "FLOWER_BASIC_AUTH": ":".join(RIGHT) + ",robin:another-word",
    }
    command = [
        sys.executable,
        "-m",
        "celery",
        "--quiet",
        "-A",
        "worker",
        "flower",
        "--conf=worker/web/flower_conf.py",
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until_up(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(30)


def get(url: str, login: tuple[str, str] | None = RIGHT) -> requests.Response:
    headers = {}
    if login is not None:
        headers["Authorization"] = "Basic " + b64encode(":".join(login).encode()).decode()
    return requests.get(url, headers=headers, timeout=30)


@pytest.mark.parametrize("login", [RIGHT, None], ids=["operator", "stranger"])
@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_protected(flower: str, path: str, login: tuple[str, str] | None) -> None:
    headers = get(flower + path, login).headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0]
    assert headers.get("Cache-Control") == "no-store" or path.startswith("/static/")
    assert "Tornado" not in headers["Server"]


def test_the_policy_allows_every_script_of_its_pages(flower: str) -> None:
    for path in ("/", "/tasks", "/broker"):
        answer = get(flower + path)
        assert answer.status_code == 200
        scripts = re.findall(r"<script(?![^>]*src=)[^>]*>(.*?)</script>", answer.text, re.DOTALL)
        for script in scripts:
            digest = b64encode(sha256(script.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
    assert len(re.findall(r"<script", get(flower + "/").text)) > 5


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic =",
        "Basic a2lt",
        "Basic ZrZr/w==",
        "Bearer x",
        "basic",
        "Basic a2ltOg==",
        "Digest a2lt",
        "Basic é",
    ],
)
def test_a_malformed_password_is_a_wrong_one(flower: str, header: str) -> None:
    answer = requests.get(flower, headers={"Authorization": header.encode()}, timeout=30)
    assert answer.status_code == 401


def test_each_of_several_passwords_is_right(flower: str) -> None:
    assert get(flower, RIGHT).status_code == get(flower, ("robin", "another-word")).status_code == 200
    assert get(flower, ("kim", "another-word")).status_code == 401


def test_guessing_is_refused_and_the_right_password_never_is(flower: str) -> None:
    statuses = [get(flower, ("kim", f"guess-{number}")).status_code for number in range(60)]
    assert (statuses[0], statuses[-1]) == (401, 429)
    assert statuses == sorted(statuses)
    refused = get(f"{flower}/api/workers", ("kim", "guess"))
    assert (refused.status_code, int(refused.headers["Retry-After"]) > 800) == (429, True)
    assert get(flower, None).status_code == 401
    assert get(flower, RIGHT).status_code == 200
