"""Processing time is proportional to the length of any text from outside."""

import ast
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.security import hostile
from tests.security.attacks import attacks
from tests.security.patterns import METHODS, SEARCHING, Found, modules, patterns, uses_of_re
from worker.event import redaction
from worker.event.consent.consent import check_consent
from worker.event.envelope import EnvelopeError, check_envelope
from worker.event.received import Received, epik_from_url
from worker.event.times import parse_time
from worker.operations.deliveries.masking import masked_event
from worker.pinterest.client.client import mask
from worker.pinterest.custom_data import money
from worker.pinterest.mapping.call import Explanation, Options
from worker.pinterest.mapping.mapping import map_event
from worker.pinterest.user_data.person_matching import _email_hashes_in
from worker.pinterest.user_data.visitor import Visitor, apply_identify

# The first steps are small, because an exponential pattern would never end with larger ones.
LENGTHS = (16, 20, 24, 32, 128, 1024, 4096)
# Lengths at which a growth may end soon after, so that a longer text must show it, too.
SATURATING = (128, 1024)
# Eight times the length may cost three times as much as in proportion. A quadratic pattern costs 64 times as much.
GROWTH = 24
# Shorter times are noise; 4 KB in quadratic time cost much more.
FLOOR_SECONDS = 0.002

# Patterns that may take longer, with the maximum length of their input, by module and name.
BOUNDED = {"worker.pinterest.custom_data.money:_GROUPED": money._LONGEST}


def _cost(work: Callable[[Any], object], text: Any, tries: int) -> float:
    """Return the least processor time in seconds that a text costs this thread."""
    least = float("inf")
    for _ in range(tries):
        began = time.thread_time()
        work(text)
        least = min(least, time.thread_time() - began)
    return least


def _costs_more_than_in_proportion(
    work: Callable[[Any], object], make: Callable[[int], Any], length: int
) -> bool:
    """Return whether a text costs much more than one of an eighth of its length."""
    # A shared machine may slow down between two measurements, but not three times in the same way.
    return all(
        _cost(work, make(length), 3) > max(FLOOR_SECONDS, GROWTH * _cost(work, make(length // 8), 3))
        for _ in range(3)
    )


def _grows_too_fast(
    work: Callable[[Any], object],
    make: Callable[[int], Any],
    lengths: tuple[int, ...] = LENGTHS,
) -> bool:
    for length in lengths:
        if _cost(work, make(length), 1) > FLOOR_SECONDS:
            grows = _costs_more_than_in_proportion(work, make, length)
            # A part such as [a-z]{1,64} costs more for each of its first 64 characters, and no more from there on.
            if grows and length in SATURATING:
                return _costs_more_than_in_proportion(work, make, length * 4)
            return grows
    return False


def _uses(found: Found) -> Iterator[Callable[[str], object]]:
    """Yield how the code applies a pattern; a search scans the whole text, like a replacement."""
    raw = isinstance(found.pattern.pattern, bytes)
    for method in sorted(found.methods - SEARCHING | ({"findall"} if found.methods & SEARCHING else set())):
        apply = getattr(found.pattern, method)
        yield (lambda text, apply=apply: apply(text.encode("latin-1", "replace"))) if raw else apply


def _costly(found: Found) -> str | None:
    """Return a description of a text that is too costly for a pattern; None if there is no such text."""
    bound = BOUNDED.get(found.where)
    lengths = LENGTHS if bound is None else (bound,)
    for use in _uses(found):
        for make in attacks(found.pattern):
            if _grows_too_fast(use, make, lengths):
                return f"{found.where} {found.pattern.pattern!r}: {make(20)!r}"
    return None


def test_every_pattern_takes_time_in_proportion_to_its_text() -> None:
    assert list(filter(None, map(_costly, patterns()))) == []


def test_every_bounded_pattern_exists() -> None:
    assert BOUNDED.keys() <= {found.where for found in patterns()}


def test_a_part_with_a_maximum_is_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.security.test_costly_text.FLOOR_SECONDS", 0.0001)
    assert _costly(Found("here", re.compile(r"[^\s@]{1,64}@\w{1,64}(?:\.\w{2,64}){1,4}"), SEARCHING)) is None


@pytest.mark.parametrize("slow", [r"\s*x", r"[^@]+@b", r"(a|a)*b", r"(a+)+$", r"a.*b.*c", r"<s>(.*?)</s>"])
def test_a_slow_pattern_would_be_found(slow: str) -> None:
    assert _costly(Found("here", re.compile(slow), SEARCHING))


def test_a_slow_match_of_a_whole_text_would_be_found() -> None:
    assert _costly(Found("here", re.compile(r"(a*)*b"), frozenset(("fullmatch",))))
    assert not _costly(Found("here", re.compile(r"\s*x"), frozenset(("fullmatch",))))


def test_patterns_are_compiled_once_in_their_module() -> None:
    """A function could otherwise use a pattern that no test measures."""
    wrong = []
    known = {found.pattern.pattern for found in patterns()}
    for where, call, in_function in uses_of_re():
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr in METHODS or (call.func.attr == "compile" and in_function):
            wrong.append(f"{where}: compile the pattern once, in the module")
        elif call.func.attr == "compile" and getattr(call.args[0], "value", None) not in {None, *known}:
            wrong.append(f"{where}: no test finds this pattern")
    assert wrong == []


RECEIVED = Received("server", 1_750_000_000.0)
EVERYTHING = Options(field_mapping="pinterest", default_country="DE", send_user_id=True)


CACHES = [
    value
    for module in modules()
    if module.__name__.startswith(("worker.event.", "worker.pinterest."))
    for value in vars(module).values()
    if hasattr(value, "cache_clear")
]


def _forget() -> None:
    """Empty the caches, which would distort the comparison of lengths."""
    for cache in CACHES:
        cache.cache_clear()


def _clean_url(url: str) -> None:
    _forget()
    redaction.clean_url(url)


def _clean_text(text: str) -> None:
    _forget()
    redaction.clean_free_text(text)


def _map(event: Any) -> None:
    """Process an event as the worker does, and explain it as for a source in debug mode."""
    _forget()
    with suppress(EnvelopeError):
        check_envelope(event)
    visitor = apply_identify(Visitor.EMPTY, event, RECEIVED, "DE")
    map_event(event, RECEIVED, visitor, EVERYTHING, RECEIVED.received_at, "allow", Explanation())


def _map_text(text: str) -> None:
    for event in hostile.full_events(text):
        _map(event)


def _show(text: str) -> None:
    _show_event({"properties": {"note": text, text: text}})


def _show_event(event: Any) -> None:
    _forget()
    masked_event(event)


FUNCTIONS: dict[str, Callable[[str], object]] = {
    "the cleaning of an address": _clean_url,
    "the cleaning of free text": _clean_text,
    "the click id": epik_from_url,
    "the debugged event": _show,
    "Pinterest's words": mask,
    "a person's addresses": lambda text: list(_email_hashes_in(text.encode("utf-8", "replace"))),
    "a time": parse_time,
    "consent": lambda text: check_consent(
        hostile.event(context={"consent": [text, {text: text}]}), ["ads"], "drop"
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_reading_takes_time_in_proportion_to_the_text(name: str) -> None:
    # Not 1024: below 512 characters less of a text can be part of a phone number, and each character costs less.
    work, lengths = FUNCTIONS[name], (16, 20, 24, 32, 128, 4096)
    assert [text for text, make in hostile.texts(3) if _grows_too_fast(work, make, lengths)] == []


def test_mapping_takes_time_in_proportion_to_the_text_in_every_field() -> None:
    slow = [name for name, make in hostile.texts(5) if _grows_too_fast(_map_text, make, (2048,))]
    assert slow == []


@pytest.mark.parametrize(("work", "size"), [(_map, hostile.MOST_BYTES), (_show_event, 16_384)])
def test_an_event_takes_time_in_proportion_to_its_size_and_any_shape(
    work: Callable[[Any], object], size: int
) -> None:
    small = dict(hostile.shapes(size // 8))
    made = {name: {size: event, size // 8: small[name]} for name, event in hostile.shapes(size)}
    slow = [name for name, events in made.items() if _grows_too_fast(work, events.__getitem__, (size,))]
    assert slow == []
