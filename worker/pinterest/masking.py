"""Cut out of Pinterest's words what is nobody's business."""

import re
import unicodedata

LONGEST_REASON = 300

# Far more than is kept, and little enough that a hostile text costs no time.
_MASKED_CHARACTERS = 2000

# Where a word begins and ends in JSON, in prose and in an address.
_EDGE = r"\s\"'<>(){}\[\],;:=?&/"

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        (r"(?i)\bbearer\s+\S+", "[token]"),
        (r"(?i)((?:token|authorization)[\"']?\s?[:=]\s?[\"']?)[^\s\"',;]+", r"\1[token]"),
        (r"(?i)\bpin[acr]_\S+", "[token]"),
        # A page's address may carry anything behind its path.
        (r"(https?://[^\s\"'?#]{1,500})[?#][^\s\"']*", r"\1?[…]"),
        (rf"(?<![^{_EDGE}])(?:[^{_EDGE}@%]|%(?!40))+(?:@|%40)[^{_EDGE}@]+", "[e-mail]"),
        (r"Mozilla/[^\"'\]}]*", "[user agent]"),
        # Hashes, click ids and whatever else is long and has a digit in it.
        (r"(?<![\w+/=-])(?=[\w+/=-]*\d)[\w+/=-]{20,}", "[id]"),
        (r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d)", "[ip]"),
        (r"(?i)(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", "[ip]"),
        (r"\+?\d(?:[ ()./\u2013-]{0,2}\d){6,}", "[number]"),
    )
)


def mask(text: str) -> str:
    """Cut from Pinterest's words what may be a person's, or a secret: they echo what they were sent.

    E-mail and IP addresses, phone numbers and other long numbers, hashes and ids, tokens, user agents and the
    queries of addresses go. One line without control characters stays, of at most 300 characters.
    """
    if not text:
        return ""
    words = _words(text[:_MASKED_CHARACTERS])
    if len(text) > _MASKED_CHARACTERS:
        # What the cut left of the last word could be half an address, which nothing would know for one.
        words[-1:] = ["…"]
    text = " ".join(words)
    for pattern, put in _SECRETS:
        text = pattern.sub(put, text)
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"


def _words(text: str) -> list[str]:
    """Split into words of visible characters, full-width and other look-alikes in their plain form."""
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFKC", text)
        text = "".join(map(_visible, text))
    return text.split()


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    # An invisible joiner would hide what is to be masked.
    if category == "Cf":
        return ""
    return " " if category[0] in "CZ" else character
