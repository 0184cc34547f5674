"""The lock files pin everything that is installed, by hash and within the ranges of setup.cfg."""

import json
import re
import subprocess
import sys
from configparser import ConfigParser
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.package.conftest import ROOT

FOLDER = ROOT / "requirements"
LOCKS = ["run", "dev"]
PIN = re.compile(
    r"^([a-z0-9._-]+)==(\S+)(?: ; ([^\\]+?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
    re.MULTILINE,
)


@cache
def configuration() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    return parser


def wanted(lock: str) -> list[Requirement]:
    extras = configuration()["options.extras_require"]
    texts = [configuration()["options"]["install_requires"], extras["install"]]
    texts += [extras["dev"]] if lock == "dev" else []
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@cache
def pins(lock: str) -> dict[str, tuple[str, str]]:
    """Return version and hashes by name."""
    return {match[1]: (match[2], match[4]) for match in PIN.finditer((FOLDER / f"{lock}.lock").read_text())}


@pytest.mark.parametrize("lock", LOCKS)
def test_each_dependency_is_pinned_within_its_range(lock: str) -> None:
    for requirement in wanted(lock):
        version, _ = pins(lock)[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_only_pins_with_hashes_and_no_address(lock: str) -> None:
    text = (FOLDER / f"{lock}.lock").read_text()
    rest = PIN.sub("", text)
    assert [line for line in rest.splitlines() if line and not line.lstrip().startswith("#")] == []
    assert "://" not in text
    assert len(pins(lock)) > 40


def test_what_runs_is_what_was_tested() -> None:
    assert {name: pin for name, pin in pins("dev").items() if name in pins("run")} == pins("run")


def test_make_installs_nothing_without_a_hash_but_the_checkout() -> None:
    makefile = (ROOT / "Makefile").read_text()
    installs = re.findall(r"^\t\$\(INSTALL\) (.*)$", makefile, re.MULTILINE)
    assert installs == [f"--require-hashes --requirement requirements/{lock}.lock" for lock in LOCKS]
    assert "--no-deps --no-build-isolation --editable ." in makefile


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.lock"
    wrong.write_text(f"signal_worker_canary==1.0 --hash=sha256:{'0' * 64}\n")
    wheel = tmp_path / "signal_worker_canary-1.0-py3-none-any.whl"
    wheel.write_bytes(b"anything")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--no-index",
        "--find-links",
        str(tmp_path),
    ]
    command += ["--require-hashes", "--requirement", str(wrong)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_the_list_of_components_has_each_pin_of_what_runs(tmp_path: Path) -> None:
    made = tmp_path / "components.json"
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible"]
    command += [
        "--pyproject",
        str(FOLDER / "sbom.toml"),
        "--output-file",
        str(made),
        str(FOLDER / "run.lock"),
    ]
    subprocess.run(command, capture_output=True, check=True)
    listed = json.loads(made.read_text())
    assert listed["bomFormat"] == "CycloneDX"
    assert {(one["name"], one["version"]) for one in listed["components"]} == {
        (name, version) for name, (version, _) in pins("run").items()
    }
    product = listed["metadata"]["component"]
    metadata = configuration()["metadata"]
    assert (product["name"], product["version"]) == (metadata["name"], metadata["version"])


def test_each_supported_python_is_named() -> None:
    named = re.findall(r"Python :: (3\.\d+)", configuration()["metadata"]["classifiers"])
    assert named == ["3.11", "3.12", "3.13"]
    assert f"for version in {' '.join(named)};" in (ROOT / "Makefile").read_text()
