"""Collect what an event states about consent, in every form that is known.

Each form is one of the tables or one of the small functions below. What no form knows says nothing, and the caller
takes that for a no.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.event.consent.tcf import NEEDED, PURPOSE_NAMES, consented_purposes
from worker.event.consent.texts import google_signals, json_in, pairs_in, refuses_sale
from worker.event.consent.vocabulary import ADVERTISING, category_of, fold_name, read_truth

PLAIN = "categories"
_GOOGLE, _ONETRUST, _TCF, _GPC = "Google consent mode", "OneTrust", "IAB TCF", "Global Privacy Control"
_SERVICE, _USP, _SHOPIFY = "the consent tool's services", "the US privacy string", "the sale of data"
_ALL = ""
_MOST_DEPTH = 6
_MOST_ENTRIES = 500
_LONGEST_TEXT = 8192
_LONGEST_KEY = 64

_GOOGLE_SIGNALS: Mapping[str, tuple[str, ...]] = {
    "adstorage": ADVERTISING,
    "aduserdata": ADVERTISING,
    "adpersonalization": ADVERTISING,
    "analyticsstorage": ("analytics",),
    "functionalitystorage": ("functional",),
    "personalizationstorage": ("functional",),
}
# OneTrust's default groups; C0001 is strictly necessary, and C0005 is social media.
_ONETRUST_GROUPS: Mapping[str, tuple[str, ...]] = {
    "c0001": (),
    "c0002": ("analytics",),
    "c0003": ("functional",),
    "c0004": ADVERTISING,
    "c0005": (),
}
# Keys whose value holds further statements.
_HOLDERS = """
categories canonical categorypreferences consentcategories purposes purpose purposeconsents consents consent
groups onetrustactivegroups optanonactivegroups activegroups optanonconsent onetrust cookiebot cookiebotconsent
cookieyes cookieyesconsent usercentrics didomi services consentmode consentstate googleconsentmode gtm tcdata tcf
iab iabtcf consentmanagement customerprivacy visitorconsent choices preferences permissions value state status
default update initial granular cookieconsent gdpr optionalcookies
"""
_GRANTING = """
granted allowed accepted enabled given optedin allowedconsentids acceptedcategories grantedcategories
allowedcategories allowedpurposes consented approved agreed optin hasconsented hasconsent
"""
_DENYING = """
denied declined rejected refused disabled withdrawn revoked optout optedout deniedconsentids rejectedcategories
deniedcategories disallowed donottrack dnt donotsell donotsellorshare blocked objected objection
ccpaoptout saleoptout datasaleoptout
"""
# They answer for everything that the same object does not name.
_GENERAL = "value state status consent consents decision answer choice consentgiven consentstatus"
_KINDS: Mapping[str, str] = {
    "holder": _HOLDERS,
    "granting": _GRANTING,
    "denying": _DENYING,
    "purposes": "purposes purpose purposeconsents purposesconsent",
    "purpose bits": "iabtcfpurposeconsents",
    "tc string": "tcstring tcfstring iabtcftcstring consentstring tcfconsentstring euconsent euconsentv2 gppstring gpp "
    "iabgpphdrgppstring",
    "gpc": "gpc isgpcenabled secgpc globalprivacycontrol gpcenabled gpcsignal",
    "us privacy": "usp uspstring usprivacy usprivacystring iabusprivacystring ccpa",
    "sale": "saleofdata saleofdataallowed saleofdataconsent",
    "google": "gcs xgagcs gcd xgagcd",
    "name": "id name category categoryslug slug purpose type templateid dataprocessor",
    # A text there may name a single category.
    "list": "categories groups onetrustactivegroups optanonactivegroups activegroups",
}
_NOT_UNDERSTOOD = [(ADVERTISING, None), (("analytics",), None)]
_KEYS = {kind: frozenset(words.split()) for kind, words in _KINDS.items()}
# An opt-out below these names is not one of a newsletter or of another channel.
_ABOUT_ADS = ("vendors", "ccpa")
_GENERAL_KEYS = frozenset(_GENERAL.split())


class Statements:
    """Hold the answers to each category, with the names of the forms that they have.

    An answer is True, False, or None where something was said that is not understood.
    """

    def __init__(self, groups: Mapping[str, str] | None = None) -> None:
        named = set((groups or {}).values())
        if not named.isdisjoint(ADVERTISING):
            named.update(ADVERTISING)
        # OneTrust's own group for a category says nothing where the source names another.
        self._groups: dict[str, tuple[str, ...]] = {
            name: tuple(item for item in meant if item not in named)
            for name, meant in _ONETRUST_GROUPS.items()
        }
        for name, category in (groups or {}).items():
            meant = ADVERTISING if category in ADVERTISING else (category,)
            self._groups[name.casefold()] = self._groups[fold_name(name) or name.casefold()] = meant
        self._answers: dict[str, list[tuple[bool | None, str]]] = {}
        self._purposes: dict[int, bool] = {}
        self._has_purposes = False
        self.holds_something = False

    def answer(self, category: str) -> tuple[bool | None, str, bool]:
        """Return the answer to a category, the form, and whether something was said about the category."""
        synonyms = ADVERTISING[::-1] if category == ADVERTISING[1] else ADVERTISING
        names = synonyms if category in ADVERTISING else (category,)
        own_answers = next((answers for name in names if (answers := self._answers.get(name))), [])
        general = self._answers.get(_ALL, [])
        is_named = any(name for name in self._answers if name != _ALL)
        if not own_answers and is_named:
            # A general yes does not widen the answers to single categories.
            general = [pair for pair in general if pair[0] is not True]
        all_answers = own_answers + general
        if not all_answers:
            return None, PLAIN, False
        # A denial counts first, then what is not understood.
        for verdict in (False, None):
            for answer, form in all_answers:
                if answer is verdict:
                    return answer, form, True
        return True, next((form for _, form in all_answers if form != PLAIN), PLAIN), True

    def say(self, categories: Iterable[str], answer: bool | None, form: str) -> None:
        """Add an answer."""
        self.holds_something = True
        for category in categories:
            self._answers.setdefault(category, []).append((answer, form))

    def deny_advertising(self, form: str = _GPC) -> None:
        """Add a refusal of advertising that holds in addition to everything else."""
        self.say(ADVERTISING, False, form)

    def read_gpc(self, signal: Any) -> None:
        """Read a Global Privacy Control signal: everything except a clear no refuses advertising."""
        if signal not in (None, "") and read_truth(signal) is not False:
            self.deny_advertising()

    def read(self, value: Any) -> None:
        """Collect everything that a value states."""
        self._has_purposes = False
        self._walk(value, 0)
        if self._has_purposes:
            self.holds_something = True
            granted = {number for number, is_granted in self._purposes.items() if is_granted}
            for category, purposes in NEEDED.items():
                self.say((category,), purposes <= granted, _TCF)

    def read_denials(self, value: Any) -> None:
        """Collect only the refusals that a value states."""
        inner = Statements()
        inner.read(value)
        for category, answers in inner._answers.items():
            for answer, form in answers:
                if answer is False:
                    self.say((category,), False, form)

    def _walk(self, value: Any, depth: int, key: str = "") -> None:
        if value is None or value == "" or depth > _MOST_DEPTH:
            return
        if type(value) is dict:
            self._object(value, depth, key)
        elif type(value) is list:
            self._list(value, True)
        else:
            self._scalar(value, depth, key)

    def _object(self, value: Mapping[str, Any], depth: int, key: str) -> None:
        if key in _KEYS["purposes"] or (self._has_purposes and key == "consents"):
            numbered = {name: said for name, said in value.items() if name.isdecimal() and len(name) <= 2}
            if numbered:
                self._note_purposes({int(name): read_truth(said) is True for name, said in numbered.items()})
                return
            self._has_purposes |= key == "purpose" and "consents" in value
        if self._named_object(value):
            return
        entries = list(value.items())[:_MOST_ENTRIES]
        folded = [(fold_name(name), item) for name, item in entries if len(name) <= _LONGEST_KEY]
        has_update = any(name == "update" and item is not None for name, item in folded)
        for name, item in folded:
            # Google's consent mode states a default, which the visitor's choice replaces.
            if not (has_update and name in ("default", "initial")):
                self._entry(name, item, depth)

    def _entry(self, name: str, value: Any, depth: int) -> None:
        category = category_of(name)
        if category is not None and not (name == "preferences" and type(value) is dict):
            self.holds_something |= category != "necessary"
            if category != "necessary" and value not in (None, ""):
                self.say((category,), _answer_in(value), PLAIN)
        elif name in _GOOGLE_SIGNALS and value is not None:
            self.say(_GOOGLE_SIGNALS[name], _answer_in(value), _GOOGLE)
        elif name in self._groups and value is not None:
            self.say(self._groups[name], _answer_in(value), _ONETRUST)
        elif _is_pinterest(name) and value is not None:
            self.say(ADVERTISING, _answer_in(value), _SERVICE)
        elif name in _KEYS["gpc"]:
            self.read_gpc(value)
        elif value is not None and not self._entry_of_a_string(name, value):
            self._general_entry(name, value, depth)

    def _entry_of_a_string(self, name: str, value: Any) -> bool:
        """Read the strings of consent standards."""
        text = value.strip() if type(value) is str else ""
        if name in _KEYS["tc string"]:
            self._tc_string(text)
        elif name in _KEYS["purpose bits"] and text:
            self._note_purposes({at: bit == "1" for at, bit in enumerate(text[:24], 1)})
        elif name in _KEYS["us privacy"] and text:
            if (refusal := refuses_sale(text)) is not False:
                self.say(ADVERTISING, False if refusal else None, _USP)
        elif name in _KEYS["google"]:
            self._signals(google_signals(text) or _NOT_UNDERSTOOD)
        elif name in _KEYS["sale"]:
            if value != "" and read_truth(value) is not True:
                self.say(ADVERTISING, read_truth(value), _SHOPIFY)
        else:
            return False
        return True

    def _general_entry(self, name: str, value: Any, depth: int) -> None:
        nested = type(value) in (dict, list)
        if name in _KEYS["granting"] or name in _KEYS["denying"]:
            grants = name in _KEYS["granting"]
            if type(value) is list:
                self._list(value, grants)
            elif type(value) is dict and grants:
                self._walk(value, depth + 1, name)
            elif type(value) is str and ("," in value or _categories_named(value, self._groups) is not None):
                self._list([part for part in value.split(",") if part.strip()], grants)
            elif (truth := _answer_in(value)) is None or truth or grants:
                self.say((_ALL,), truth if grants or truth is None else False, PLAIN)
        elif name in _KEYS["holder"] and (nested or name not in _GENERAL_KEYS):
            self._walk(value, depth + 1, name)
        elif name in _GENERAL_KEYS:
            if value != "":
                self._scalar(value, depth, name)
        elif type(value) is dict and depth < _MOST_DEPTH:
            # What is below an unknown name may be about something else: only its refusals count.
            self._denials_below(value, depth, is_about_ads=name in _ABOUT_ADS)

    def _denials_below(self, value: Mapping[str, Any], depth: int, *, is_about_ads: bool) -> None:
        for name, item in list(value.items())[:_MOST_ENTRIES]:
            categories = _categories_named(name, self._groups)
            if categories and type(item) in (bool, str, int) and read_truth(item) is False:
                self.say(categories, False, PLAIN)
            elif is_about_ads and (folded := fold_name(name[:_LONGEST_KEY])) in _KEYS["denying"] and item:
                self._general_entry(folded, item, depth + 1)

    def _list(self, value: Sequence[Any], answer: bool) -> None:
        """Read a list of what was granted or denied, or a list of objects with a name and an answer."""
        purposes: dict[int, bool] = {}
        understood = False
        for item in value[:_MOST_ENTRIES]:
            if type(item) is dict:
                understood |= self._named_object(item)
            elif type(item) is str:
                categories = _categories_named(item.strip(), self._groups)
                if categories is not None:
                    understood = True
                    self.say(categories, answer, _form_of(item.strip(), self._groups))
                elif (number := PURPOSE_NAMES.get(fold_name(item[:_LONGEST_KEY]))) is not None:
                    understood = True
                    purposes[number] = answer
                elif _is_pinterest(fold_name(item[:_LONGEST_KEY])):
                    understood = True
                    self.say(ADVERTISING, answer, _SERVICE)
            elif type(item) is int and 0 < item <= 24:
                purposes[item] = answer
        if purposes:
            self._note_purposes(purposes)
        self.holds_something |= understood or not value
        if value and answer and not understood and not purposes:
            self.say((_ALL,), None, PLAIN)

    def _named_object(self, value: Mapping[str, Any]) -> bool:
        folded = {fold_name(name): item for name, item in value.items() if len(name) <= _LONGEST_KEY}
        for key in _KEYS["name"]:
            name = folded.get(key)
            if type(name) is not str or len(name) > _LONGEST_KEY:
                continue
            categories = _categories_named(name, self._groups)
            if categories is None and _is_pinterest(fold_name(name)):
                categories = ADVERTISING
            if categories is not None:
                answers = {name: item for name, item in folded.items() if name not in _KEYS["name"]}
                self.say(categories, _answer_in(answers), _SERVICE)
                return True
        return False

    def _scalar(self, value: Any, depth: int, key: str) -> None:
        truth = read_truth(value)
        if truth is None and type(value) is str and self._text(value.strip(), depth, key):
            return
        self.say((_ALL,), truth, PLAIN)

    def _text(self, text: str, depth: int, key: str) -> bool:
        """Read a text in one of the known forms; return whether it has one."""
        if not text or len(text) > _LONGEST_TEXT:
            return not text
        if signals := google_signals(text):
            self._signals(signals)
        elif consented_purposes(text) is not None:
            self._tc_string(text)
        elif (value := json_in(text)) is not None:
            self._walk(value, depth + 1, key)
        elif pairs := pairs_in(text):
            for name, item in pairs[:_MOST_ENTRIES]:
                self._pair(name, item, depth)
        elif "," in text:
            self._list([item for item in text.split(",") if item.strip()], True)
        elif (not key or key in _KEYS["list"]) and _categories_named(text, self._groups) is not None:
            self._list([text], True)
        else:
            return False
        return True

    def _pair(self, name: str, value: str, depth: int) -> None:
        # OneTrust's older groups have numbers.
        is_old = name in ("1", "2", "3", "4") and name not in self._groups
        folded = f"c000{name}" if is_old else fold_name(name[:_LONGEST_KEY])
        self._entry(folded, value, depth + 1)

    def _signals(self, signals: Iterable[tuple[tuple[str, ...], bool | None]]) -> None:
        for categories, answer in signals:
            self.say(categories, answer, _GOOGLE)

    def _tc_string(self, text: str) -> None:
        purposes = consented_purposes(text)
        if purposes is None:
            if text:
                self.say(tuple(NEEDED), None, _TCF)
        else:
            self._note_purposes({number: number in purposes for number in range(1, 25)})

    def _note_purposes(self, answers: Mapping[int, bool]) -> None:
        self._has_purposes = self.holds_something = True
        for number, is_granted in answers.items():
            self._purposes[number] = is_granted and self._purposes.get(number, True)


def _answer_in(value: Any, depth: int = 0) -> bool | None:
    """Return the answer to one category; of several in an object, the strictest."""
    if type(value) is not dict:
        return read_truth(value)
    if depth > _MOST_DEPTH:
        return None
    folded = [
        (fold_name(name), raw) for name, raw in value.items() if len(name) <= _LONGEST_KEY and raw is not None
    ]
    has_update = any(name == "update" for name, _ in folded)
    answers: list[bool | None] = []
    for name, raw in folded:
        if has_update and name in ("default", "initial"):
            continue
        if name in _KEYS["granting"] or name in _GENERAL_KEYS or name in ("update", "default", "initial"):
            answers.append(_answer_in(raw, depth + 1))
        elif name in _KEYS["denying"] and (denial := read_truth(raw)) is not False:
            answers.append(False if denial else None)
    return False if False in answers else None if not answers or None in answers else True


def _categories_named(name: str, groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    if len(name) > _LONGEST_KEY:
        return None
    if (group := groups.get(name.casefold())) is not None:
        return group
    if (signal := _GOOGLE_SIGNALS.get(fold_name(name))) is not None:
        return signal
    category = category_of(name)
    return None if category is None else () if category == "necessary" else (category,)


def _is_pinterest(folded: str) -> bool:
    # Didomi's own vendors begin with "c:".
    return folded.startswith(("pinterest", "cpinterest"))


def _form_of(name: str, groups: Mapping[str, tuple[str, ...]]) -> str:
    return _ONETRUST if name.casefold() in groups else PLAIN
