"""Look every installed package up among the known vulnerabilities: part of ``make lint``.

pip-audit does the work. Where the advisory service cannot be reached it says "No known vulnerabilities found" of
packages that nobody looked up; so its answer is read here, and a lint without the service says so in plain words.
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

# What is known and does no harm here: the advisory's id, and why.
HARMLESS: Mapping[str, str] = {}

# One of these is asked for first: where it is not known, nothing is, and eighty questions are saved.
PROBE = "requests"
STAMP = Path(sys.prefix) / ".audited"
GOOD_FOR_SECONDS = 86_400
LONGEST_SECONDS = 180

NOT_DONE = (
    "audit: NOT DONE. The advisory service cannot be reached from here ({why}). Nothing is known to be wrong, and "
    "nothing was looked up: run `make lint` where it can be."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold what an audit found: vulnerabilities in words, and what could not be looked up."""

    bad: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    looked_up: int = 0
    trouble: str = ""


Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def installed() -> dict[str, str]:
    """Return what is installed here besides this project, with versions."""
    found = {one.metadata["Name"].lower(): one.version for one in distributions()}
    return {name: version for name, version in sorted(found.items()) if name != "signal-worker"}


def audit(packages: Mapping[str, str], run: Run) -> Verdict:
    """Ask pip-audit about some packages."""
    lines = "".join(f"{name}=={version}\n" for name, version in packages.items())
    requirements = STAMP.with_name(".audit-requirements.txt")
    requirements.write_text(lines)
    ignored = [word for one in HARMLESS for word in ("--ignore-vuln", one)]
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


def read(said: str, complained: str) -> Verdict:
    """Read pip-audit's answer."""
    try:
        dependencies = json.loads(said)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (complained.strip().splitlines() or ["it said nothing"])[-1]
        return Verdict(trouble=last[-200:])
    looked_up = [one for one in dependencies if "skip_reason" not in one]
    bad = [_words(one, flaw) for one in looked_up for flaw in one["vulns"]]
    unknown = [one["name"] for one in dependencies if "skip_reason" in one]
    return Verdict(bad, unknown, len(looked_up))


def main(packages: Mapping[str, str], run: Run, stamp: Path = STAMP) -> int:
    """Audit, say what was found, and return the exit status: 1 for a known vulnerability."""
    mark = sha256(json.dumps([packages, dict(HARMLESS)]).encode()).hexdigest()
    if _is_fresh(stamp, mark):
        print("audit: nothing known; the same packages were looked up within the last day.")
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
        print(f"audit: not looked up, because the service does not know them: {', '.join(found.unknown)}.")
    print(f"audit: {found.looked_up} packages looked up, {len(found.bad)} known vulnerabilities.")
    if found.bad:
        return 1
    stamp.write_text(mark)
    return 0


def _is_fresh(stamp: Path, mark: str) -> bool:
    if not stamp.exists() or time.time() - stamp.stat().st_mtime > GOOD_FOR_SECONDS:
        return False
    return stamp.read_text() == mark


def _words(one: Mapping[str, str], flaw: Mapping[str, Sequence[str]]) -> str:
    mended = ", ".join(flaw["fix_versions"]) or "no version yet"
    return f"{one['name']} {one['version']} has {flaw['id']}, mended in {mended}."


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)


if __name__ == "__main__":
    sys.exit(main(installed(), _run))
