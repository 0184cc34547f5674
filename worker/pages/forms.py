"""Read forms, and show them again with what is wrong beside each field."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema, ValidationError

from worker.operations.errors import InvalidError, OperationError
from worker.pages.words import as_sentence


@dataclass(slots=True)
class Form:
    """Hold what stands in a form's fields, as texts, and what is wrong with it.

    ``names`` says how the form calls what the Management API calls otherwise, like ``cookies.domain``.
    """

    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    def refuse(self, error: OperationError) -> None:
        """Show a refusal beside each field that it names, or above the form."""
        if isinstance(error, InvalidError):
            self._note(error.errors)
        else:
            self.problem = error.message

    def load(self, schema: Schema, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Check a body; None means that the form now says what is wrong."""
        try:
            loaded: dict[str, Any] = schema.load(body)
        except ValidationError as error:
            self._note(error.messages)
            return None
        return loaded

    def _note(self, messages: Any, path: str = "") -> None:
        if isinstance(messages, Mapping):
            for key, inner in messages.items():
                # An item's number is of no use beside a field that holds all of them.
                is_name = isinstance(key, str) and key != "_schema"
                self._note(inner, f"{path}.{key}".lstrip(".") if is_name else path)
        elif isinstance(messages, list):
            self._note(messages[0], path)
        else:
            self._put(path, str(messages))

    def _put(self, path: str, words: str) -> None:
        name = self.names.get(path, path.rpartition(".")[2])
        if name in self.values:
            self.errors[name] = as_sentence(words)
        else:
            self.problem = as_sentence(f"{name}: {words}".removeprefix(": "))


def split_lines(text: str) -> list[str]:
    """Return what stands on the lines of a text."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def parse_number(text: str) -> float | int | str | None:
    """Read a number; what is none stays as it is, for the schema to refuse."""
    text = text.strip()
    if not text:
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def form_texts(form: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return the fields of a form, without the blanks around them; what was not sent is empty."""
    return {name: form.get(name, "").strip() for name in names}
