"""A folder that looks like a checkout, with its own state folder."""

import shutil
from pathlib import Path

from tests.integration.stack import ROOT

PARTS = ("worker", "tasks", "celeryconfig.py", "Procfile")


def lay(folder: Path) -> Path:
    """Create a checkout; `deploy` is a real folder, because its files use paths relative to themselves."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    (folder / "deploy").mkdir()
    for name in ("supervisord.conf", "start"):
        shutil.copy(ROOT / "deploy" / name, folder / "deploy" / name)
    (folder / "var").mkdir(exist_ok=True)
    return folder
