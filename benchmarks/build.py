"""Row "build": JSON bytes in, payload bytes out, on one core, compared with Pinterest's SDK."""

import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any, cast

from benchmarks.results import Goal, Result, of_rounds
from worker.event.envelope import check_envelope, decode_json
from worker.event.received import Received
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Mapped, encode_payload, map_event
from worker.pinterest.user_data.hashing import phone_digits
from worker.pinterest.user_data.visitor import Visitor

EVENTS = 2_000
ROUNDS = 30
NOW = 1_706_540_001.0
OPTIONS = Options(consent_categories=("advertising",), default_country="US")
SDK = "pinterest-api-sdk"
SDK_NAME = "Pinterest's SDK"

SDK_WAY = Path(__file__).with_name("sdk_way.py")


def run(quick: bool = False) -> list[Result]:
    """Measure events per second, what a hash and a cache miss cost here, and the ratio to the SDK."""
    bodies = [json.dumps(event).encode() for event in _events(random.Random(7))]
    cold = _seconds_per_event(bodies)
    rounds: dict[str, list[float]] = defaultdict(list)
    hashes: list[float] = []
    with _the_sdk(bodies) as seconds_of_the_sdk:
        # Alternately, within a second: the speed of a shared machine may double from one minute to the next.
        for _ in range(3 if quick else ROUNDS):
            rounds["ours"].append(1 / _seconds_per_event(bodies))
            hashes.append(_seconds_per_hash())
            if seconds_of_the_sdk is not None:
                rounds[SDK_NAME].append(1 / seconds_of_the_sdk())
    size = sum(map(len, bodies)) / len(bodies)
    case = f"orders of {size:.0f} bytes, 11 hashed fields, 1 to 4 products, one core"
    made = of_rounds("build", case, "events/s", rounds)
    goals = [
        Goal("12,000 events/s, scaled to this machine's SHA-256", 12_000 * 0.5e-6 / median(hashes), made.ours)
    ]
    goals += [Goal(f"15 times {name}", 15, ratio) for name, ratio in made.ratios.items()]
    notes = (
        f"{1e6 / made.ours:.1f} µs an event; a visitor never seen before {cold * 1e6:.1f} µs, "
        f"a phone number never seen before {_seconds_per_phone() * 1e6:.1f} µs, "
        f"a SHA-256 of a short text {median(hashes) * 1e6:.2f} µs",
    )
    return [replace(made, goals=tuple(goals), notes=notes)]


def _events(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Yield orders as a shop's server sends them; each of another visitor."""
    first, last = ("John", "Zoë", "Mary Ann", "José", "Lena"), ("Doe", "Müller", "O'Neill", "García", "Smith")
    cities = ("San José", "New York", "St. Louis", "Winston-Salem", "Boston")
    for number in range(EVENTS):
        yield {
            "type": "track",
            "event": "Order Completed",
            "messageId": f"{rng.getrandbits(128):032x}",
            "timestamp": "2024-01-29T14:53:20.000Z",
            "userId": f"user-{number}",
            "context": {
                "ip": f"203.0.113.{rng.randrange(256)}",
                "userAgent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0",
                "page": {"url": f"https://example.com/checkout/{number}?step=done", "title": "Thank you"},
                "consent": {"advertising": True, "analytics": True},
                "library": {"name": "shop-server"},
                "traits": {
                    "email": f"visitor.{number}@example.com",
                    "phone": f"+1 (212) 555-{number:04d}",
                    "gender": rng.choice(("female", "male")),
                    "birthday": f"19{rng.randrange(50, 99)}-0{rng.randrange(1, 9)}-1{rng.randrange(9)}",
                    "firstName": rng.choice(first),
                    "lastName": f"{rng.choice(last)}{chr(97 + number % 26)}",
                    "externalId": f"loyalty-{number}",
                    "address": {
                        "city": rng.choice(cities),
                        "state": "California",
                        "postalCode": f"{rng.randrange(10_000, 99_999)}",
                        "country": "United States",
                    },
                },
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


def build(body: bytes) -> tuple[Mapped, bytes]:
    """Run all steps of one event that use the processor: decode, check, map, hash, check, encode."""
    event = cast("dict[str, Any]", decode_json(body))
    check_envelope(event)
    received = Received("server", NOW - 1)
    (outcome,) = map_event(event, received, Visitor.EMPTY, OPTIONS, NOW, "drop")
    if not isinstance(outcome, Mapped):
        raise SystemExit(f"the benchmark's own event was not mapped: {outcome}")
    return outcome, encode_payload(outcome.payload)


def _seconds_per_event(bodies: list[bytes]) -> float:
    def build_all() -> None:
        for body in bodies:
            build(body)

    return _timed(build_all) / len(bodies)


def _seconds_per_hash() -> float:
    texts = [f"visitor.{number}@example.com".encode() for number in range(20_000)]
    return _timed(lambda: [sha256(text).hexdigest() for text in texts]) / len(texts)


def _seconds_per_phone() -> float:
    numbers = [f"+1 (646) 555-{number:04d}" for number in range(2_000)]
    return _timed(lambda: [phone_digits(number, "US") for number in numbers]) / len(numbers)


def _timed(work: Callable[[], object]) -> float:
    # Processor seconds do not depend on other programs on the machine.
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


@contextmanager
def _the_sdk(bodies: list[bytes]) -> Iterator[Callable[[], float] | None]:
    """Run Pinterest's SDK, and yield a function that returns its seconds per event.

    The SDK has built the same payloads before. Yields None if the SDK does not run.
    """
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
            asking, answering = process.stdin, process.stdout
            payloads = answering.readline()
            if not payloads:
                _, complaint = process.communicate()
                print(f"  {SDK}: does not run here: {complaint.strip().splitlines()[-1]}")
                yield None
                return
            _compare(json.loads(payloads), bodies)

            def seconds_per_event() -> float:
                asking.write("\n")
                asking.flush()
                return float(answering.readline())

            yield seconds_per_event
            asking.close()


def _compare(payloads: list[dict[str, Any]], bodies: list[bytes]) -> None:
    # The SDK sends null for what an event does not have.
    built = [{key: value for key, value in one.items() if value is not None} for one in payloads]
    if built != [build(body)[0].payload for body in bodies]:
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
    done = subprocess.run(install, capture_output=True, check=False)
    return str(python) if done.returncode == 0 else None
