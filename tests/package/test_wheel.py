"""The wheel is complete and reproducible."""

import zipfile
from pathlib import Path

from tests.package.conftest import built, tracked

PACKED = ("worker/", "tasks/", "celeryconfig.py")


def test_the_wheel_contains_exactly_the_files_of_the_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {name for name in tracked() if name.startswith(PACKED)}


def test_the_same_commit_gives_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    again = built(tmp_path, umask=0o077)
    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())
