"""The architecture drawing is readable in light and dark mode."""

import re
from xml.etree import ElementTree as ET

import pytest

from tests.docs.reading import ROOT

DRAWING = ROOT / "docs" / "images" / "architecture.svg"
SVG = "{http://www.w3.org/2000/svg}"
GROUNDS = ("sheet", "area", "proc", "row", "queue", "out")
READABLE = 4.5


def _fills(css: str) -> dict[str, str]:
    fills = {}
    for names, rules in re.findall(r"([.\w, -]+)\{([^}]*)\}", css):
        fill = re.search(r"fill: (#[0-9a-f]{6})", rules)
        fills.update({name.strip(" ."): fill[1] for name in names.split(",") if fill})
    return fills


def _schemes() -> dict[str, dict[str, str]]:
    css = ET.parse(DRAWING).find(f"{SVG}style").text or ""  # type: ignore[union-attr]  # noqa: S314 - our own file
    light, _, dark = css.partition("@media (prefers-color-scheme: dark) {")
    return {"light": _fills(light), "dark": _fills(light) | _fills(dark)}


def _luminance(color: str) -> float:
    parts = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("words", ["text", "small", "label"])
def test_text_contrasts_with_every_background(scheme: str, words: str) -> None:
    fills = _schemes()[scheme]
    for ground in GROUNDS:
        dim, bright = sorted((_luminance(fills[words]), _luminance(fills[ground])))
        assert (bright + 0.05) / (dim + 0.05) >= READABLE, (ground, fills[words], fills[ground])


def test_dark_mode_has_its_own_colours() -> None:
    schemes = _schemes()
    assert [name for name in GROUNDS if schemes["light"][name] == schemes["dark"][name]] == []


def test_the_drawing_has_a_title_and_a_description() -> None:
    root = ET.parse(DRAWING).getroot()  # noqa: S314 - our own file
    texts = [root.find(f"{SVG}{name}").text for name in ("title", "desc")]  # type: ignore[union-attr]
    assert min(len(text or "") for text in texts) > 10
    assert root.get("aria-labelledby") == "title desc"
