"""Find phone numbers as people of each country write them in a text."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import phonenumbers
from phonenumbers import Leniency, PhoneNumberFormat, PhoneNumberMatcher

# The countries with most online sales. Their numbers are looked for where the person's country is not known.
_MARKETS = """
US CN GB JP DE KR FR IN CA BR IT ES AU RU NL MX PL TR ID SE CH BE AT DK NO FI PT IE CZ GR HU RO TW HK SG
MY TH VN PH SA AE IL ZA AR CL CO PE NZ EG NG UA
"""
_LARGEST_MARKETS = tuple(_MARKETS.split())
_EURO = {"EU": ("DE", "FR", "IT", "ES", "NL", "BE", "AT", "PT", "IE", "FI", "GR")}

_GROUP = re.compile(r"[+(]{0,2}\d{1,18}\)?", re.ASCII)
# What may be between two groups of one number.
_DIGITS = re.compile(r"\d+", re.ASCII)
_GAP = re.compile(r"[\s().\-/]{0,3}", re.ASCII)
_MOST_GROUPS = 7
_FEWEST_DIGITS, _MOST_DIGITS = 7, 15
_FEWEST_UNKNOWN, _LONGEST_COMPACT = 9, 12
# Checking a number takes about 20 microseconds in each country. A text with more numbers than this is no usual text:
# everything in it that has a phone number's length is removed.
_MOST_CHECKS = 150
_LONGEST_CACHED = 512

# The text after digits that are not the end of a number, but part of a longer one, a price or a time.
_GOES_ON = re.compile(r"[\w%€$£]|[-./,:]\d")
_NORTH_AMERICAN = re.compile(r"[2-9]\d\d \d{3} \d{4}", re.ASCII)
_MOST_STEP = 10
# Groups in use that the library does not know: country code and lengths.
_ALSO_USUAL = {(47, 3, 2, 3), (39, 3, 2, 2, 3), (39, 3, 3, 2, 2), (30, 3, 2, 2, 3), (48, 3, 2, 2, 2)}
_DATE = re.compile(r"\d{4}[./-]\d\d?[./-]\d\d?(?!\d)|\d\d?[./-]\d\d?[./-](?:19|20)\d\d(?!\d)", re.ASCII)
# As on a product's bar code.
_BAR_CODE = re.compile(r"\d[\s-]\d{5}[\s-]\d{5}[\s-]\d|97[89][\s-].*|\d[\s-]\d{6}[\s-]\d{6}", re.ASCII)
# Numbers that are one in some country, whether or not anyone has them: made up ones look like this.
_SHAPE = re.compile(
    r"0[1-9]\d{1,3}[\s/.-]\s?\d(?:[\s./-]?\d){4,9}"
    r"|\(0\d{1,4}\)[\s/-]?\d(?:[\s.-]?\d){4,8}"
    r"|\(\d{2,3}\)[\s-]?\d{3,5}[\s.-]\d{3,4}"
    r"|(?:1[\s.-])?(?:\d{3}-\d{3}-|\d{3}\.\d{3}\.)\d{4}",
    re.ASCII,
)

_WORDS = """
tel tele telephone telefon telefono teléfono telefone téléphone telefoon telefonnummer telefonnr telefonszám telefonu
phone phonenumber ph fon fone fono mobile mobil mobiel móvil movil mobiltelefon mob cell cellphone cellular celular
cellulare cel handy handynummer rufnummer gsm whatsapp wa viber sms fax call ring dial text anruf anrufen rufen appeler
appelez llamar llame ligar ligue chiama chiamare bel bellen ring rückruf callback hotline tlf tlph puhelin puh
komórka kom telefoonnummer portable cep hp nohp handphone telp telpon sđt đt điệnthoại
тел телефон моб τηλ τηλέφωνο טל טלפון נייד هاتف جوال موبايل تلفون
"""
_PHONE_WORDS = frozenset(_WORDS.split())
_WORD_ENDS = (
    *("電話", "电话", "手机", "手機", "携帯", "電話番号", "전화", "휴대폰", "연락처", "핸드폰", "โทร"),
    *("โทรศัพท์", "điện thoại", "számom"),
)
# They may be between the word for a phone and the number.
_LINKS = "no nr n° nº № num number nummer numero número numéro is ist at me us on under unter my"
_BETWEEN = frozenset(_LINKS.split())
_IDS = """
sku ean upc gtin isbn mpn asin art article artikel artikelnummer artnr item model modell ref id order bestellung
bestellnummer commande pedido ordine invoice rechnung serial sn part code tracking
"""
_ID_WORDS = frozenset(_IDS.split())
_PHONE_WORD, _ID_WORD = "phone", "id"
_BEFORE = 32
_EDGES = " .:;,#=/-\u2013|()[]+*\t"
_EDGES_TO_SPACES = dict.fromkeys(map(ord, _EDGES), " ")


def find_phones(text: str, regions: Sequence[str] = ()) -> list[tuple[int, int]]:
    """Return the start and end of each national phone number.

    ``regions`` are the likely countries of the person, alpha-2; ``EU`` means the countries of the euro. Digits
    without a gap count only after a word such as ``Tel``, or with a leading zero: other runs of digits are ids.
    """
    countries = tuple(country for region in regions for country in _EURO.get(region, (region.upper(),)))
    if len(text) <= _LONGEST_CACHED:
        return list(_found_cached(text, countries))
    return list(_find(text, countries))


@lru_cache(maxsize=4096)
def _found_cached(text: str, regions: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(_find(text, regions))


def _find(text: str, regions: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    checks = _Checks(regions)
    for run in _runs(text):
        yield from _find_in_run(text, run, checks)


def _runs(text: str) -> Iterator[list[tuple[int, int]]]:
    """Yield the groups of digits that follow each other with gaps as in a phone number."""
    run: list[tuple[int, int]] = []
    for match in _GROUP.finditer(text):
        if run and not _GAP.fullmatch(text, run[-1][1], match.start()):
            yield run
            run = []
        run.append(match.span())
    if run:
        yield run


def _find_in_run(text: str, run: list[tuple[int, int]], checks: "_Checks") -> Iterator[tuple[int, int]]:
    first = 0
    if _BAR_CODE.fullmatch(text, run[0][0], run[-1][1]) and len(run) > 1:
        first = len(run)
    while first < len(run):
        last = _last_group(text, run, first, checks)
        if last is None:
            first += 1
        else:
            yield run[first][0], run[last][1]
            first = last + 1


def _last_group(text: str, run: list[tuple[int, int]], first: int, checks: "_Checks") -> int | None:
    """Return the last group of the longest phone number that starts with a group; None if none does."""
    start = run[first][0]
    before = text[max(0, start - _BEFORE) : start]
    # A number is no part of a word, of a longer id or of a decimal number, except after a word such as ``Tel-``.
    word = _word_before(before)
    if word != _PHONE_WORD and before and (before[-1].isalnum() or before[-1] in "_#$€£¥" or _joins(before)):
        return None
    for last in range(min(len(run), first + _MOST_GROUPS) - 1, first - 1, -1):
        stop = run[last][1]
        if _GOES_ON.match(text, stop):
            continue
        number = text[start:stop]
        digits = sum(map(str.isdecimal, number))
        if _FEWEST_DIGITS <= digits <= _MOST_DIGITS:
            is_whole_run = first == 0 and last == len(run) - 1
            around = before + text[stop : stop + _BEFORE]
            is_whole_text = is_whole_run and not around.strip(_EDGES)
            if checks.is_phone(number, word, is_whole_run=is_whole_run, is_whole_text=is_whole_text):
                return last
    return None


def _joins(before: str) -> bool:
    """Return whether the number continues what precedes it, as in ``ORD-12`` and ``1,299``."""
    return before[-1] in "-./," and before[-2:-1].isalnum()


def _word_before(before: str) -> str:
    """Return the kind of the word directly before a number: of a phone's, of an id's, or an empty text."""
    words = before.casefold().rstrip(_EDGES)
    if words.endswith(_WORD_ENDS):
        return _PHONE_WORD
    for part in reversed(words.translate(_EDGES_TO_SPACES).split()):
        if part in _PHONE_WORDS:
            return _PHONE_WORD
        if part not in _BETWEEN:
            return _ID_WORD if part in _ID_WORDS else ""
    return ""


class _Checks:
    """Check numbers of one text in the likely countries, up to a bound."""

    def __init__(self, regions: tuple[str, ...]) -> None:
        self._regions = regions
        self._left = _MOST_CHECKS

    def is_phone(self, number: str, word: str, *, is_whole_run: bool, is_whole_text: bool) -> bool:
        """Return whether groups of digits are a phone number."""
        groups = _groups(number)
        if word == _PHONE_WORD:
            return not _DATE.match(number)
        if len(groups) > 1 and (_DATE.match(number) or _is_series(groups)):
            return False
        bare = number.lstrip("(+")
        has_zero = bare[0] == "0" != bare[1:2]
        if word == _ID_WORD or len(groups) == 1:
            return has_zero and self._is_compact(number, word)
        if _SHAPE.fullmatch(number):
            return True
        if has_zero or "(" in number:
            return self._has_area(number, groups)
        return is_whole_run and self._is_local(number, groups, is_whole_text)

    def _is_compact(self, number: str, word: str) -> bool:
        """Check a number that may be an id: without gaps, or after a word such as ``order``."""
        if number.isdecimal():
            known = self._regions or _LARGEST_MARKETS
            return (
                not word and _FEWEST_UNKNOWN < len(number) < _LONGEST_COMPACT and self._exists(number, known)
            )
        return self._exists(number, self._regions)

    def _has_area(self, number: str, groups: Sequence[str]) -> bool:
        """Check a number with a leading zero or brackets."""
        if groups[0] == "0" and "(" not in number:
            return number[1] == " " and self._exists(number, self._regions)
        fewest = _FEWEST_UNKNOWN - ("-" in number)
        return sum(map(len, groups)) >= fewest and self._exists(number, (*self._regions, *_LARGEST_MARKETS))

    def _is_local(self, number: str, groups: Sequence[str], is_whole_text: bool) -> bool:
        """Check a number without a leading zero: its groups must be those of its country."""
        digits = sum(map(len, groups))
        if "/" in number or digits < _FEWEST_UNKNOWN - 1:
            return False
        if is_whole_text and _NORTH_AMERICAN.fullmatch(number) and self._exists(number, ("US",)):
            return True
        may_be_anywhere = digits >= _FEWEST_UNKNOWN and " " in number and len(groups[0]) > 1
        return self._exists(number, self._regions or (_LARGEST_MARKETS if may_be_anywhere else ()), groups)

    def _exists(self, number: str, regions: tuple[str, ...], groups: Sequence[str] = ()) -> bool:
        """Return whether a number is valid in one of the countries, and written in groups as usual there."""
        digits = "".join(_groups(number))
        for region in dict.fromkeys(regions):
            self._left -= 1
            if self._left < 0:
                return True
            for phone in _readings(digits, region):
                if phonenumbers.is_valid_number_for_region(phone, region) and (
                    not groups or _is_usual(phone, number, groups)
                ):
                    return True
        return False


def _readings(digits: str, region: str) -> Iterator[phonenumbers.PhoneNumber]:
    """Yield a number with and without its country's national prefix; parsing in full costs ten times as much."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    if metadata is None or metadata.general_desc is None:
        return
    lengths, prefix = metadata.general_desc.possible_length, metadata.national_prefix
    for national in {digits, digits.removeprefix(prefix or "")}:
        if len(national) in lengths:
            yield phonenumbers.PhoneNumber(
                metadata.country_code, int(national), italian_leading_zero=national.startswith("0")
            )


def _is_usual(phone: phonenumbers.PhoneNumber, number: str, groups: Sequence[str]) -> bool:
    """Return whether a number has the groups of its country.

    In North America people also write hyphens or brackets: groups of three with spaces only are more often a model.
    """
    if phone.country_code == 1 and "-" not in number and "." not in number:
        return False
    if (phone.country_code, *map(len, groups)) in _ALSO_USUAL:
        return True
    usual_groups = _groups(phonenumbers.format_number(phone, PhoneNumberFormat.NATIONAL))
    with_prefix = usual_groups[1:] if len(usual_groups[0]) == 1 else usual_groups
    if list(groups) in (usual_groups, with_prefix, [usual_groups[0].removeprefix("0"), *usual_groups[1:]]):
        return True
    # The library knows other forms of some countries.
    region = phonenumbers.region_code_for_number(phone)
    return PhoneNumberMatcher(number, region, leniency=Leniency.STRICT_GROUPING).has_next()


def _is_series(groups: Sequence[str]) -> bool:
    """Return whether groups are sizes or years: round numbers, or numbers with the same small steps."""
    numbers = list(map(int, groups))
    steps = {after - before for before, after in pairwise(numbers)}
    has_steps = len(numbers) > 2 and len(steps) == 1 and abs(next(iter(steps))) <= _MOST_STEP
    return has_steps or (groups[0][0] != "0" and all(number % 10 == 0 for number in numbers))


def _groups(number: str) -> list[str]:
    return _DIGITS.findall(number)
