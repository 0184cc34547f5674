"""Turn what senders write into text that is fit to keep, or into nothing."""

import re

LONGEST_TEXT = 1024

# What templates, JavaScript and spreadsheets leave behind where a value is missing.
JUNK = frozenset(
    (
        "null",
        "undefined",
        "none",
        "nan",
        "n/a",
        "(null)",
        "(none)",
        "(not set)",
        "[object object]",
        "infinity",
    )
)
_JUNK_BEGINS = frozenset(letter for word in JUNK for letter in word[0] + word[0].upper())
_LARGEST_ID = 10**19
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def clean_text(value: object, longest: int = LONGEST_TEXT) -> str | None:
    """Return a text or a whole number as trimmed, printable text, or None.

    None stands for junk, for more than ``longest`` characters and for every other type.
    """
    if type(value) is str:
        text = value.strip()
        if not text.isprintable():
            text = _UNPRINTABLE.sub(" ", _INVISIBLE.sub("", text)).strip()
        if not text or len(text) > longest or (text[0] in _JUNK_BEGINS and text.lower() in JUNK):
            return None
        return text
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int and -_LARGEST_ID < value < _LARGEST_ID:
        return str(value)
    return None
