"""Tell whether a text speaks of a person who asked to be forgotten."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from worker.event import json_text
from worker.pinterest.user_data.hashing import hash_value
from worker.pinterest.user_data.visitor import collect_traits

# Where a string of JSON ends, and where a word of free text or a part of an address does: an e-mail address may
# hold what the second takes for an end, so both are tried.
_ENDS = (re.compile(r'[\s"\\<>,;]+'), re.compile(r'[\s"\\<>,;:/?&=()\[\]{}|#]+'))
_AROUND = ".!'`*_-"


@dataclass(frozen=True, slots=True)
class Person:
    """Hold what a person is found by: SHA-256 hashes as Pinterest gets them, and keyed hashes of visitor ids."""

    emails: frozenset[str] = frozenset()
    external_ids: frozenset[str] = frozenset()
    keys: frozenset[bytes] = frozenset()

    def appears_in(self, text: bytes) -> bool:
        """Tell whether a stored text, raw or mapped, holds one of the person's identifiers in any form."""
        lower = text.lower()
        if any(digest.encode() in lower for digest in self.emails | self.external_ids):
            return True
        if self.emails and not self.emails.isdisjoint(email_hashes_in(text)):
            return True
        return bool(self.external_ids) and not self.external_ids.isdisjoint(_user_id_hashes_in(text))


def email_hashes_in(text: bytes) -> Iterator[str]:
    """Yield the hash of everything in a text that reads as an e-mail address, also percent-encoded."""
    readable = text.decode("utf-8", "replace")
    written = [readable]
    if "%40" in readable:
        written.append(unquote(readable))
    for form in written:
        if "@" not in form:
            continue
        for ends in _ENDS:
            for word in ends.split(form):
                if "@" in word and (digest := hash_value("em", word.strip(_AROUND))):
                    yield digest


def all_email_hashes_in(text: bytes) -> set[str]:
    """Return the hashes of all e-mail addresses that a stored text names, raw or hashed already."""
    return {*email_hashes_in(text), *mapped_email_hashes(text)}


def mapped_email_hashes(text: bytes) -> list[str]:
    """Return the hashed e-mails of a payload or of a kept visitor."""
    body = _object(text)
    places = (_part(body, "user_data"), _part(body, "traits"), _part(_part(body, "signed"), "traits"))
    found = [place.get("em") for place in places]
    return [
        email for emails in found if isinstance(emails, list) for email in emails if isinstance(email, str)
    ]


def _user_id_hashes_in(text: bytes) -> set[str]:
    """Return the hashes of the user ids that an event of the inbox names, in the places that the mapping reads."""
    event = _part(_object(text), "event")
    places = (
        event.get("traits"),
        _part(event, "context").get("traits"),
        _part(event, "properties").get("userdata"),
    )
    named: list[object] = [event.get("userId")]
    for place in places:
        given = collect_traits(place).get("external_id")
        named += given if isinstance(given, list) else [given]
    return {digest for one in named if (digest := hash_value("external_id", one))}


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        body = json_text.parse_json(text)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _part(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = holder.get(name)
    return part if isinstance(part, dict) else {}
