"""Read forms, and show them again with what is wrong beside each field."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema, ValidationError

from worker.management.errors import ApiError

# How errors name a field: "config.ad_account_id: must be digits".
_FIELD = re.compile(r"(?:[a-z_]+\.)*([a-z_]+): (.+)", re.DOTALL)


@dataclass(slots=True)
class Form:
    """Hold what stands in a form's fields, as texts, and what is wrong with it."""

    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    def refuse(self, error: ApiError) -> None:
        """Put a refusal beside the field that it names, or above the form."""
        named = _FIELD.fullmatch(error.message) if error.status == 422 else None
        if named and named[1] in self.values:
            self.errors[named[1]] = sentence(named[2])
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

    def _note(self, messages: Any, name: str = "") -> None:
        if isinstance(messages, Mapping):
            for key, inner in messages.items():
                # An item's number is of no use beside a field that holds all of them.
                self._note(inner, str(key) if isinstance(key, str) and key != "_schema" else name)
        elif isinstance(messages, list):
            self._note(messages[0], name)
        elif name in self.values:
            self.errors[name] = sentence(str(messages))
        else:
            self.problem = sentence(f"{name}: {messages}".removeprefix(": "))


def sentence(words: str) -> str:
    """Write a rule as a sentence."""
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def lines(text: str) -> list[str]:
    """Return what stands on the lines of a text."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def number(text: str) -> float | int | str | None:
    """Read a number; what is none stays as it is, for the schema to refuse."""
    text = text.strip()
    if not text:
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def texts(form: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return the fields of a form, without the blanks around them; what was not sent is empty."""
    return {name: form.get(name, "").strip() for name in names}
