"""Find out whether a stored text names a person whose data must be erased."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from worker.event import json_text
from worker.pinterest.user_data.hashing import hash_value
from worker.pinterest.user_data.traits import collect_traits

# The ends of a JSON string, and of a word in free text or a URL. An e-mail address may contain characters of the second
# set, so both are tried.
_ENDS = (re.compile(r'[\s"\\<>,;]+'), re.compile(r'[\s"\\<>,;:/?&=()\[\]{}|#]+'))
_AROUND = ".!'`*_-"
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Person:
    """The identifiers of a person: SHA-256 hashes as sent to Pinterest, and keyed hashes of visitor ids."""

    emails: frozenset[str] = frozenset()
    external_ids: frozenset[str] = frozenset()
    keys: frozenset[bytes] = frozenset()

    def appears_in(self, text: bytes) -> bool:
        """Return whether a stored text, raw or mapped, has one of the person's identifiers in any form."""
        lower = text.lower()
        if any(digest.encode() in lower for digest in self.emails | self.external_ids):
            return True
        if self.emails and not self.emails.isdisjoint(_email_hashes_in(text)):
            return True
        return bool(self.external_ids) and not self.external_ids.isdisjoint(_user_id_hashes_in(text))


@dataclass(frozen=True, slots=True)
class KeyedPerson:
    """Persons of whom only keyed hashes are known; ``key_of`` makes the keyed hash of a SHA-256."""

    keys: frozenset[bytes]
    key_of: Callable[[str], bytes]
    emails: frozenset[str] = frozenset()

    def appears_in(self, text: bytes) -> bool:
        """Return whether a stored text, raw or mapped, has an identifier of these persons in any form."""
        digests = {*_email_hashes_in(text), *_user_id_hashes_in(text)}
        digests.update(match.decode() for match in _DIGEST.findall(text.lower()))
        return any(self.key_of(digest) in self.keys for digest in digests)


def _email_hashes_in(text: bytes) -> Iterator[str]:
    """Yield the hash of every e-mail address in a text, also of percent-encoded ones."""
    decoded = text.decode("utf-8", "replace")
    forms = [decoded, unquote(decoded)] if "%40" in decoded else [decoded]
    for form in forms:
        if "@" not in form:
            continue
        for ends in _ENDS:
            for word in ends.split(form):
                if "@" in word and (digest := hash_value("em", word.strip(_AROUND))):
                    yield digest


def all_email_hashes_in(text: bytes) -> set[str]:
    """Return the hashes of all e-mail addresses in a stored text, raw or already hashed."""
    return {*_email_hashes_in(text), *_mapped_email_hashes(text)}


def _mapped_email_hashes(text: bytes) -> list[str]:
    """Return the e-mail hashes of a payload or of a stored visitor."""
    body = _object(text)
    places = (_part(body, "user_data"), _part(body, "traits"), _part(_part(body, "signed"), "traits"))
    values = [place.get("em") for place in places]
    return [
        digest for value in values if isinstance(value, list) for digest in value if isinstance(digest, str)
    ]


def split_record(record: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return a stored visitor as signed calls alone made it, and what they did not say.

    The first is None if signed calls said nothing of the person.
    """
    signed = record.get("signed") or {}
    own = {name: value for name, value in record.items() if name != "signed" and value != signed.get(name)}
    if isinstance(traits := own.get("traits"), dict):
        signed_traits = signed.get("traits") or {}
        own["traits"] = {name: value for name, value in traits.items() if value != signed_traits.get(name)}
    if not (signed.get("traits") or signed.get("user_id")):
        return None, own
    return {**signed, "told_up_to": record["told_up_to"], "signed": signed}, own


def split_payload(text: bytes, fields: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a payload without some fields of its user data, and these fields.

    A field may be one value of a list: ``external_id:0`` is the first external id.
    """
    payload = _object(text)
    data = _part(payload, "user_data")
    rest: dict[str, Any] = {}
    cut_fields: dict[str, Any] = {}
    for name, value in data.items():
        if name in fields:
            cut_fields[name] = value
        elif isinstance(value, list):
            of_fields = [item for place, item in enumerate(value) if f"{name}:{place}" in fields]
            other_values = [item for place, item in enumerate(value) if f"{name}:{place}" not in fields]
            cut_fields |= {name: of_fields} if of_fields else {}
            rest |= {name: other_values} if other_values else {}
        else:
            rest[name] = value
    return {**payload, "user_data": rest}, cut_fields


def _user_id_hashes_in(text: bytes) -> set[str]:
    """Return the hashes of the user ids of an event in the inbox, from the places that the mapping reads."""
    event = _part(_object(text), "event")
    places = (
        event.get("traits"),
        _part(event, "context").get("traits"),
        _part(event, "properties").get("userdata"),
    )
    user_ids: list[object] = [event.get("userId")]
    for place in places:
        value = collect_traits(place).get("external_id")
        user_ids += value if isinstance(value, list) else [value]
    return {digest for user_id in user_ids if (digest := hash_value("external_id", user_id))}


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        body = json_text.parse_json(text)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _part(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = holder.get(name)
    return part if isinstance(part, dict) else {}
