"""Check every installed package for known vulnerabilities: part of ``make lint``.

pip-audit does the work. If the advisory service is unreachable, it prints "No known vulnerabilities found" for
packages that it did not check. So this module reads its JSON output and says if the check was not possible.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path

# Known vulnerabilities that do not affect this project: the advisory's id, and the reason.
HARMLESS: Mapping[str, str] = {}

# Checked first: if the service does not know it, the other eighty queries are skipped.
PROBE = "requests"
STAMP = Path(sys.prefix) / ".audited"
GOOD_FOR_SECONDS = 86_400
LONGEST_SECONDS = 180

NOT_DONE = (
    "audit: NOT DONE. The advisory service is unreachable ({why}). No package was checked: run `make lint` where the "
    "service is reachable."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of an audit: vulnerabilities as text, and packages that could not be checked."""

    bad: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    looked_up: int = 0
    trouble: str = ""


Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def installed() -> dict[str, str]:
    """Return the installed packages except this project, with versions."""
    versions = {package.metadata["Name"].lower(): package.version for package in distributions()}
    return {name: version for name, version in sorted(versions.items()) if name != "signal-worker"}


def audit(packages: Mapping[str, str], run: Run) -> Verdict:
    """Run pip-audit for some packages."""
    lines = "".join(f"{name}=={version}\n" for name, version in packages.items())
    requirements = STAMP.with_name(".audit-requirements.txt")
    requirements.write_text(lines)
    ignored = [word for advisory in HARMLESS for word in ("--ignore-vuln", advisory)]
    options = [
        "--no-deps",
        "--disable-pip",
        "--progress-spinner",
        "off",
        "--format",
        "json",
        "--timeout",
        "10",
    ]
    try:
        done = run([sys.executable, "-m", "pip_audit", "-r", str(requirements), *options, *ignored])
    except subprocess.TimeoutExpired:
        return Verdict(trouble=f"no answer within {LONGEST_SECONDS} s")
    return read(done.stdout, done.stderr)


def read(output: str, errors: str) -> Verdict:
    """Read pip-audit's output."""
    try:
        dependencies = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (errors.strip().splitlines() or ["no output"])[-1]
        return Verdict(trouble=last[-200:])
    looked_up = [package for package in dependencies if "skip_reason" not in package]
    bad = [_words(package, flaw) for package in looked_up for flaw in package["vulns"]]
    unknown = [package["name"] for package in dependencies if "skip_reason" in package]
    return Verdict(bad, unknown, len(looked_up))


def main(packages: Mapping[str, str], run: Run, stamp: Path = STAMP) -> int:
    """Audit, print the result and return the exit status: 1 for a known vulnerability."""
    mark = sha256(json.dumps([packages, dict(HARMLESS)]).encode()).hexdigest()
    if _is_fresh(stamp, mark):
        print("audit: no known vulnerabilities; the same packages were checked within the last day.")
        return 0
    first = audit({PROBE: packages[PROBE]}, run)
    if not first.looked_up:
        print(NOT_DONE.format(why=first.trouble or f"it does not know {PROBE}"))
        return 0
    found = audit(packages, run)
    if found.trouble:
        print(NOT_DONE.format(why=found.trouble))
        return 0
    for words in found.bad:
        print(f"audit: {words}")
    if found.unknown:
        print(f"audit: not checked, because the service does not know them: {', '.join(found.unknown)}.")
    print(f"audit: {found.looked_up} packages checked, {len(found.bad)} known vulnerabilities.")
    if found.bad:
        return 1
    stamp.write_text(mark)
    return 0


def _is_fresh(stamp: Path, mark: str) -> bool:
    if not stamp.exists() or time.time() - stamp.stat().st_mtime > GOOD_FOR_SECONDS:
        return False
    return stamp.read_text() == mark


def _words(package: Mapping[str, str], flaw: Mapping[str, Sequence[str]]) -> str:
    fixed = ", ".join(flaw["fix_versions"]) or "no version yet"
    return f"{package['name']} {package['version']} has {flaw['id']}, fixed in {fixed}."


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)


if __name__ == "__main__":
    sys.exit(main(installed(), _run))
