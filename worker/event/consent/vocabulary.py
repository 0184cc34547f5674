"""The words for yes and no, and the names of categories, that consent tools and shops use."""

import unicodedata

from worker.event.text import fold_key

ADVERTISING = ("advertising", "marketing")
_LONGEST_WORD = 32

# In the official languages of the EU. A word that is a yes in one language and a no in another counts as no.
_PLAIN_YES = """
true yes y t on ja j jawohl oui sí si sì sim tak ano áno da igen kyllä kylla joo jah jā taip iva tá sea ναι nai да
"""  # noqa: RUF001
_YES = """
ok granted grant given give allow allowed accept accepted acceptall allowall allaccepted grantall agree agreed
approve approved consent consented optin optedin enable enabled active
akzeptiert zugestimmt erteilt accepté acceptée accordé autorisé aceptado concedido permitido accettato concesso
consentito aceite toegestaan geaccepteerd akkoord accepteret godkendt accepterat godkänd hyväksytty sallittu
zaakceptowano zgoda souhlas súhlas elfogadva acceptat prihvaćeno privola sprejeto
"""
_PLAIN_NO = """
false no n f off nein non não nao nie ne nem ei nē nu nej nee níl le όχι oxi οχι не nei ní
"""
_NO = """
not none deny denied alldenied decline declined reject rejected refuse refused forbid forbidden disallow
disallowed block blocked optout optedout disable disabled inactive revoke revoked withdraw withdrawn objected unset
abgelehnt verweigert widerrufen refusé refusée rechazado denegado rifiutato negato recusado negado geweigerd
afgewezen afvist nekad avvisad hylätty odrzucono brak odmítnuto odmietnuté elutasítva refuzat odbijeno zavrnjeno
"""
_PLAIN = (
    dict.fromkeys(_PLAIN_YES.split(), True)
    | dict.fromkeys(_PLAIN_NO.split(), False)
    | {"1": True, "0": False}
)
_ABOUT_CONSENT = dict.fromkeys(_YES.split(), True) | dict.fromkeys(_NO.split(), False)
_IN_NAMES = dict.fromkeys(map(ord, " _-.&/:"))
_GAPS = dict.fromkeys(map(ord, " _-"))


def read_truth(value: object) -> bool | None:
    """Return what a value says about consent: a boolean, 1, 0, or a word for yes or no; None if it says neither."""
    flag = read_flag(value)
    return _ABOUT_CONSENT.get(_joined(value)) if flag is None and type(value) is str else flag


def read_flag(value: object) -> bool | None:
    """Return what a boolean, 1, 0 or a plain yes or no says; None if it says neither."""
    if type(value) is str:
        return _PLAIN.get(_joined(value))
    return bool(value) if type(value) in (bool, int, float) and value in (0, 1) else None


def _joined(text: str) -> str:
    if len(text) > _LONGEST_WORD:
        return ""
    word = unicodedata.normalize("NFKC", text).strip().casefold()
    # Only words may be written in parts, so that -1 is not 1.
    return word.translate(_GAPS) if word[:1].isalpha() else word


_NAMES = {
    "advertising": "advertising advertisement advertisements ads ad advert adverts targeting targeted "
    "targetedadvertising targetingadvertising advertisingtargeting retargeting remarketing werbung publicité "
    "publicidad pubblicità",
    "marketing": "marketing",
    "analytics": "analytics analytic analytical statistics statistic statistical performance measurement "
    "analyticsprocessing statistik statistiken statistiques estadísticas statistiche",
    "functional": "functional functionality preferences preference preferencesprocessing",
}
_ENDINGS = ("", "cookies", "cookie", "consent", "allowed", "accepted", "granted")
# Of WordPress: Complianz, and the WP Consent API.
_BEGINNINGS = ("", "cmplz", "wpconsent")
_CATEGORIES = {
    f"{beginning}{name}{ending}": category
    for category, names in _NAMES.items()
    for name in names.split()
    for beginning in _BEGINNINGS
    for ending in _ENDINGS
}
# Of strictly necessary cookies, which need no consent.
_NECESSARY = frozenset(("necessary", "strictlynecessary", "essential", "required", "mandatory", "security"))


def fold_name(name: str) -> str:
    """Return a name like ``fold_key``; empty if it has other signs, which may turn its meaning around."""
    return fold_key(name) if name[:1].isalnum() and name.translate(_IN_NAMES).isalnum() else ""


def category_of(name: str) -> str | None:
    """Return the category that a name means; ``necessary`` for what needs no consent."""
    folded = fold_name(name)
    return "necessary" if folded in _NECESSARY else _CATEGORIES.get(folded)
