"""Read forms, and show them again with an error next to each field."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema, ValidationError

from worker.ledger.rows import LARGEST_ID
from worker.ledger.setup.sources import Source
from worker.operations.errors import InvalidError, OperationError
from worker.pages.words import as_sentence

_LONGEST_QUOTED = 60


@dataclass(slots=True)
class Form:
    """Hold the values of a form as texts, and its errors by field.

    ``names`` maps names of the Management API, like ``cookies.domain``, to names of fields.
    """

    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    def refuse(self, error: OperationError) -> None:
        """Show an error next to each field that it names, or above the form."""
        if isinstance(error, InvalidError):
            self._note(error.errors)
        else:
            self.problem = error.message

    def load(self, schema: Schema, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Validate a body. None means that the form now has errors."""
        try:
            values: dict[str, Any] = schema.load(body)
        except ValidationError as error:
            self._note(error.messages, body)
            return None
        return values

    def _note(self, messages: Any, value: Any = None, path: str = "", place: str = "") -> None:
        if isinstance(messages, Mapping):
            for key, inner in messages.items():
                # The field holds the whole list, so the number of an item and its text go into the sentence.
                is_name = isinstance(key, str) and key != "_schema"
                part = _part_of(value, key)
                quoted = f" (“{part[:_LONGEST_QUOTED]}”)" if isinstance(part, str) else ""
                item = f"item {key + 1}{quoted}" if isinstance(key, int) else place
                self._note(inner, part, f"{path}.{key}".lstrip(".") if is_name else path, item)
        elif isinstance(messages, list):
            self._note(messages[0], value, path, place)
        else:
            self._put(path, f"{place} {messages}".strip())

    def _put(self, path: str, words: str) -> None:
        name = self.names.get(path, path.rpartition(".")[2])
        if name in self.values:
            # Each wrong item of a list has a sentence.
            self.errors[name] = f"{self.errors.get(name, '')} {as_sentence(words)}".strip()
        else:
            self.problem = as_sentence(f"{name}: {words}".removeprefix(": "))


def _part_of(value: Any, key: object) -> Any:
    """Return what was given at a place that an error names; None if there is nothing."""
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        return None


def source_choices(sources: Iterable[Source]) -> list[tuple[str, str]]:
    """Return the id and the name of each source for a list; names that are used twice with the id."""
    sources = list(sources)
    uses = Counter(source.name for source in sources)
    return [
        (source.id, source.name if uses[source.name] == 1 else f"{source.name} ({source.id})")
        for source in sources
    ]


def split_lines(text: str) -> list[str]:
    """Return the lines of a text, stripped, without empty ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def parse_number(text: str) -> float | int | str | None:
    """Read a number. Other text is returned as it is, and the schema refuses it."""
    text = text.strip()
    if not text:
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def row_id(text: str) -> int:
    """Read the number of a row.

    Raises:
        ValueError: the text is not a number that a row can have.
    """
    number = int(text)
    if not 0 <= number <= LARGEST_ID:
        raise ValueError("not a number of a row")
    return number


def form_texts(form: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return fields of a form, stripped; a missing field is empty."""
    return {name: form.get(name, "").strip() for name in names}
