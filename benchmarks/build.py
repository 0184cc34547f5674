"""Row "build": JSON bytes in, payload bytes out, on one core, compared with Pinterest's SDK."""

import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import IO, Any, cast
from uuid import UUID

from benchmarks.people import person
from benchmarks.processes import seconds_per_hash
from benchmarks.results import Goal, Result, of_rounds
from worker.event.envelope import check_envelope, decode_json
from worker.event.received import Received
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Mapped, encode_payload, map_events
from worker.pinterest.user_data.visitor import Visitor

VISITORS, REPEATED = 20_000, 2_000
# Ingest maps up to 64 waiting events together.
TOGETHER = 50
ROUNDS = 25
NOW = 1_706_540_001.0
OPTIONS = Options(consent_categories=("advertising",), default_country="US")
SDK = "pinterest-api-sdk"
SDK_NAME = "Pinterest's SDK"

SDK_WAY = Path(__file__).with_name("sdk_way.py")


def run(quick: bool = False) -> list[Result]:
    """Measure events per second of new visitors and of the same ones again, and the ratios to the SDK."""
    rounds = 3 if quick else ROUNDS
    new, repeated = _bodies(0, VISITORS * rounds // ROUNDS), _bodies(VISITORS, REPEATED)
    rates: dict[str, dict[str, list[float]]] = {"new": defaultdict(list), "repeated": defaultdict(list)}
    hashes: list[float] = []
    _seconds_per_event(repeated)
    with _the_sdk(new) as sdk:
        # Alternately, within a second: the speed of a shared machine may double from one minute to the next.
        for start in range(0, len(new), size := len(new) // rounds):
            rates["new"]["ours"].append(1 / _seconds_per_event(new[start : start + size]))
            rates["repeated"]["ours"].append(1 / _seconds_per_event(repeated))
            hashes.append(seconds_per_hash())
            if sdk is not None:
                for own_rates in rates.values():
                    own_rates[SDK_NAME].append(1 / sdk.seconds_per_event())
        if sdk is not None:
            _compare(sdk.payloads, new)
    case = f"orders of {sum(map(len, new)) / len(new):.0f} bytes, 11 hashed fields, 1 to 4 products, one core"
    cases = {
        "new": f"{case}: {len(new):,} visitors never seen before",
        "repeated": f"{case}: the same {REPEATED:,} orders again and again",
    }
    return [_result(cases[name], own_rates, hashes) for name, own_rates in rates.items()]


def _result(case: str, rates: dict[str, list[float]], hashes: list[float]) -> Result:
    row = of_rounds("build", case, "events/s", rates)
    goals = [
        Goal("12,000 events/s, scaled to this machine's SHA-256", 12_000 * 0.5e-6 / median(hashes), row.ours)
    ]
    goals += [Goal(f"15 times {name}", 15, ratio) for name, ratio in row.ratios.items()]
    notes = (f"{1e6 / row.ours:.1f} µs an event; a SHA-256 of a short text {median(hashes) * 1e6:.2f} µs",)
    return replace(row, goals=tuple(goals), notes=notes)


def _bodies(first: int, count: int) -> list[bytes]:
    """Return orders as a shop's server sends them, each of another visitor."""
    return [json.dumps(_order(number), ensure_ascii=False).encode() for number in range(first, first + count)]


def _order(number: int) -> dict[str, Any]:
    rng = random.Random(number)
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": str(UUID(int=rng.getrandbits(128), version=4)),
        "timestamp": f"2024-01-29T14:{number // 1000 % 60:02}:{number % 60:02}.{number % 1000:03}Z",
        "userId": f"user-{number}",
        "context": {
            **person(f"visitor-{number}"),
            "consent": {"advertising": True, "analytics": True},
            "library": {"name": "shop-server"},
        },
        "properties": {
            "order_id": f"ORD-{number}",
            "total": round(rng.uniform(5, 500), 2),
            "currency": "USD",
            "coupon": "SPRING",
            "products": [_product(rng) for _ in range(rng.randrange(1, 5))],
        },
    }


def _product(rng: random.Random) -> dict[str, Any]:
    sku = rng.randrange(500)
    price = round(5 + sku * 0.37, 2)
    return {
        "product_id": f"SKU-{sku}",
        "name": f"Widget {sku}",
        "price": price,
        "quantity": rng.randrange(1, 4),
    }


def build(bodies: Sequence[bytes]) -> list[tuple[Mapped, bytes]]:
    """Run all steps of events that use the processor, as ingest does: decode, check, map, hash, check, encode."""
    events = [cast("dict[str, Any]", decode_json(body)) for body in bodies]
    for event in events:
        check_envelope(event)
    received = [Received("server", NOW - 1) for _ in events]
    outcomes = map_events(
        (event, how, Visitor.EMPTY, OPTIONS, NOW, "drop", None)
        for event, how in zip(events, received, strict=True)
    )
    mapped = [outcome for (outcome,) in outcomes if isinstance(outcome, Mapped)]
    if len(mapped) < len(events):
        raise SystemExit("an event of the benchmark was not mapped")
    return [(outcome, encode_payload(outcome.payload)) for outcome in mapped]


def _seconds_per_event(bodies: list[bytes]) -> float:
    def build_all() -> None:
        for start in range(0, len(bodies), TOGETHER):
            build(bodies[start : start + TOGETHER])

    return _timed(build_all) / len(bodies)


def _timed(work: Callable[[], object]) -> float:
    # Processor seconds do not depend on other programs on the machine.
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


@dataclass(frozen=True, slots=True)
class _Sdk:
    """Pinterest's SDK in a process of its own, and the payloads that it built of the first events."""

    payloads: list[dict[str, Any]]
    asking: IO[str]
    answering: IO[str]

    def seconds_per_event(self) -> float:
        self.asking.write("\n")
        self.asking.flush()
        return float(self.answering.readline())


@contextmanager
def _the_sdk(bodies: list[bytes]) -> Iterator[_Sdk | None]:
    """Run Pinterest's SDK; yield None if it does not run here."""
    python = _sdk_python(Path("var") / "bench" / SDK)
    if python is None:
        print(f"  {SDK}: cannot be installed here, so nothing to compare with")
        yield None
        return
    with tempfile.NamedTemporaryFile("wb", suffix=".jsonl") as file:
        file.write(b"\n".join(bodies))
        file.flush()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([python, SDK_WAY, file.name], text=True, **pipes) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            payloads = process.stdout.readline()
            if not payloads:
                _, complaint = process.communicate()
                print(f"  {SDK}: does not run here: {complaint.strip().splitlines()[-1]}")
                yield None
                return
            yield _Sdk(json.loads(payloads), process.stdin, process.stdout)
            process.stdin.close()


def _compare(payloads: list[dict[str, Any]], bodies: list[bytes]) -> None:
    # The SDK sends null for what an event does not have.
    built = [{key: value for key, value in payload.items() if value is not None} for payload in payloads]
    if built != [outcome.payload for outcome, _ in build(bodies[: len(built)])]:
        raise SystemExit(f"{SDK} was made to build other payloads, so there is nothing to compare")


def _sdk_python(folder: Path) -> str | None:
    """Return the Python of an environment that has the SDK, made on first use."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        SDK,
        "phonenumbers",
    ]
    process = subprocess.run(install, capture_output=True, check=False)
    return str(python) if process.returncode == 0 else None
