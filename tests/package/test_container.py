"""The container files match the processes and settings; two linters check the rest."""

import re
import subprocess
import sys
from configparser import ConfigParser
from fnmatch import fnmatch
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from tests.package.conftest import ROOT
from worker import procfile

BIN = Path(sys.executable).parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"
# The image has no digest before it is built, and the two servers need a writable root.
ACCEPTED = {"CL-0004", "CL-0007", "CL-0019"}


@cache
def services() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


@cache
def version() -> str:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    return parser["metadata"]["version"]


def test_the_dockerfile_passes_its_linter() -> None:
    done = subprocess.run([BIN / "hadolint", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_passes_its_linter() -> None:
    command = [BIN / "compose-lint", "check", COMPOSE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert set(re.findall(r"CL-\d{4}", done.stdout)) <= ACCEPTED, done.stdout


def test_every_process_of_the_procfile_is_a_service_of_its_own() -> None:
    started = {name: service["command"] for name, service in services().items() if "command" in service}
    assert started.pop("migrate") == ["migrate"]
    assert started == {name: ["start", name] for name in procfile.commands()}


def test_every_image_of_others_has_a_digest_or_says_why_not() -> None:
    lines = [line.strip() for path in (DOCKERFILE, COMPOSE) for line in path.read_text().splitlines()]
    named = [
        (before, line)
        for before, line in pairwise(lines)
        if re.match(r"(FROM|image:) (?!signal-worker)", line)
    ]
    assert len(named) == 3
    assert [line for before, line in named if "@sha256:" not in line and "# No digest: " not in before] == []


def test_nothing_is_open_to_other_machines() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_a_stop_waits_longer_than_the_longest_request() -> None:
    assert {service["stop_grace_period"] for service in services().values()} == {"60s"}


def test_every_variable_in_the_files_is_a_setting() -> None:
    code = "".join(path.read_text() for path in (ROOT / "worker").rglob("*.py"))
    ours = [service for service in services().values() if service["image"].startswith("signal-worker:")]
    named = {name for service in ours for name in service.get("environment", {})}
    named |= set(re.findall(r"([A-Z_]+)=", DOCKERFILE.read_text())) - {"PYTHONUNBUFFERED"}
    assert {name for name in named if f'"{name}"' not in code} == set()
    assert named >= {"PRODUCTION", "SIGNAL_VAR", "COLLECTOR_BIND"}


def test_image_and_tag_have_this_version() -> None:
    tags = {
        service["image"] for service in services().values() if service["image"].startswith("signal-worker")
    }
    assert tags == {f"signal-worker:{version()}"}
    assert f"-t signal-worker:{version()} ." in DOCKERFILE.read_text()


def test_the_build_context_contains_only_the_wheel_and_the_lock(wheel: Path) -> None:
    """State and keys under var/ must not get into an image."""
    assert (ROOT / ".dockerignore").read_text().split() == ["*", "!dist/*.whl", "!requirements/run.lock"]
    copied = re.findall(r"^COPY (\S+) (\S+) ", DOCKERFILE.read_text(), re.MULTILINE)
    assert copied == [("requirements/run.lock", "dist/signal_worker-*.whl")]
    assert fnmatch(f"dist/{wheel.name}", copied[0][1])
