"""A wheel, and an environment with only this wheel."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VENV = Path(sys.prefix)
COMMITTED_AT = "2030-01-29T14:53:20Z"


def built(folder: Path, umask: int = 0o022) -> Path:
    """Run ``make build`` in a copy of this tree with its own repository; return the wheel."""
    tree = _copied(folder / "tree", umask)
    # Use this environment as it is, although the copy's setup.cfg is newer.
    lent = f"{VENV}/.dev"
    _run("make", "--silent", f"--old-file={lent}", "build", f"VENV={VENV}", cwd=tree, umask=umask)
    (wheel,) = (tree / "dist").glob("*.whl")
    return wheel


def tracked() -> list[str]:
    """Return the files that git tracks and that exist."""
    listed = _run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    return [name for name in listed if name and (ROOT / name).exists()]


def _copied(tree: Path, umask: int) -> Path:
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name, follow_symlinks=False)
        if not (tree / name).is_symlink():
            (tree / name).chmod(0o666 & ~umask)
    who = {
        f"GIT_{role}_{what}": "t@example.com"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    dates = {f"GIT_{role}_DATE": COMMITTED_AT for role in ("AUTHOR", "COMMITTER")}
    _run("git", "init", "--quiet", cwd=tree)
    _run("git", "add", "--all", "--force", cwd=tree)
    _run("git", "commit", "--quiet", "--message", "A copy", cwd=tree, environment=who | dates)
    return tree


def _run(*command: str, cwd: Path, umask: int = -1, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        umask=umask,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel of this tree."""
    return built(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel with its dependencies into a new environment; return the folder of its commands."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    _run(str(folder / "bin" / "pip"), "install", "--quiet", str(wheel), cwd=folder)
    return folder / "bin"
