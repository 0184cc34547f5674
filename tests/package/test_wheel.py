"""What is built holds everything, and is the same each time."""

import zipfile
from pathlib import Path

from tests.package.conftest import built, tracked

PACKED = ("worker/", "tasks/", "celeryconfig.py")


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_besides(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {name for name in tracked() if name.startswith(PACKED)}


def test_the_same_commit_gives_the_same_bytes_whoever_builds_it(wheel: Path, tmp_path: Path) -> None:
    again = built(tmp_path, umask=0o077)
    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())
