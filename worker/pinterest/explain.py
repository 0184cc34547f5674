"""Collect what was decided about an event, for people to read."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """Hold one decision: the step it belongs to, and a sentence."""

    step: str
    text: str


@dataclass(slots=True)
class Explanation:
    """Gather the decisions of one ``map_event`` call, in order.

    Raw personal data is left out unless ``show_personal`` asks for it.
    """

    show_personal: bool = False
    lines: list[Line] = field(default_factory=list)

    def add(self, step: str, text: str) -> None:
        """Note a decision."""
        self.lines.append(Line(step, text))

    def raw(self, value: object) -> str:
        """Return a personal value for a sentence, or a stand-in."""
        if isinstance(value, str):
            return repr(value) if self.show_personal else f"a text of {len(value)} characters"
        return f"a value of type {type(value).__name__}"

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the lines as JSON has them."""
        return [{"step": line.step, "text": line.text} for line in self.lines]

    def __str__(self) -> str:
        width = max((len(line.step) for line in self.lines), default=0)
        return "\n".join(f"{line.step:<{width}}  {line.text}" for line in self.lines)


@dataclass(slots=True)
class Notes:
    """Carry what one mapping has to say beside its payload: what was computed, what looks wrong, and why."""

    explain: Explanation | None = None
    computed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Note what a sender should mend."""
        self.warnings.append(text)
        if self.explain is not None:
            self.explain.add("warning", text)

    def compute(self, name: str, how: str) -> None:
        """Note a value that the caller did not give."""
        self.computed.append(name)
        if self.explain is not None:
            self.explain.add("computed", f"{name}: {how}")
