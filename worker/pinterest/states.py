"""Read a state's two-letter code out of a code or a name."""

import re
from functools import lru_cache

from worker.pinterest.countries import fold_place

# Countries whose states are called by two letters in everyday use.
_STATES = {
    "us": """al Alabama; ak Alaska; az Arizona; ar Arkansas; ca California; co Colorado; ct Connecticut;
        de Delaware; fl Florida; ga Georgia; hi Hawaii; id Idaho; il Illinois; in Indiana; ia Iowa; ks Kansas;
        ky Kentucky; la Louisiana; me Maine; md Maryland; ma Massachusetts; mi Michigan; mn Minnesota;
        ms Mississippi; mo Missouri; mt Montana; ne Nebraska; nv Nevada; nh New Hampshire; nj New Jersey;
        nm New Mexico; ny New York; nc North Carolina; nd North Dakota; oh Ohio; ok Oklahoma; or Oregon;
        pa Pennsylvania; ri Rhode Island; sc South Carolina; sd South Dakota; tn Tennessee; tx Texas; ut Utah;
        vt Vermont; va Virginia; wa Washington; wv West Virginia; wi Wisconsin; wy Wyoming;
        dc District of Columbia; dc Washington DC; as American Samoa; gu Guam; mp Northern Mariana Islands;
        pr Puerto Rico; vi Virgin Islands""",
    "ca": """ab Alberta; bc British Columbia; mb Manitoba; nb New Brunswick; nl Newfoundland and Labrador;
        nl Newfoundland; ns Nova Scotia; on Ontario; pe Prince Edward Island; qc Québec; sk Saskatchewan;
        nt Northwest Territories; nu Nunavut; yt Yukon""",
    "au": "nt Northern Territory; sa South Australia; wa Western Australia",
    "br": """ac Acre; al Alagoas; am Amazonas; ap Amapá; ba Bahia; ce Ceará; df Distrito Federal;
        es Espírito Santo; go Goiás; ma Maranhão; mg Minas Gerais; ms Mato Grosso do Sul; mt Mato Grosso;
        pa Pará; pb Paraíba; pe Pernambuco; pi Piauí; pr Paraná; rj Rio de Janeiro; rn Rio Grande do Norte;
        ro Rondônia; rr Roraima; rs Rio Grande do Sul; sc Santa Catarina; se Sergipe; sp São Paulo;
        to Tocantins""",
    "de": """bw Baden-Württemberg; by Bayern; by Bavaria; be Berlin; bb Brandenburg; hb Bremen; hh Hamburg;
        he Hessen; he Hesse; mv Mecklenburg-Vorpommern; ni Niedersachsen; ni Lower Saxony;
        nw Nordrhein-Westfalen; nw North Rhine-Westphalia; rp Rheinland-Pfalz; rp Rhineland-Palatinate;
        sl Saarland; sn Sachsen; sn Saxony; st Sachsen-Anhalt; st Saxony-Anhalt; sh Schleswig-Holstein;
        th Thüringen; th Thuringia""",
}
_ISO_3166_2 = re.compile(r"[a-z]{2}-([a-z]{2})")


def _read_state_tables() -> tuple[dict[str, dict[str, str]], dict[str, set[str]]]:
    by_country: dict[str, dict[str, str]] = {}
    anywhere: dict[str, set[str]] = {}
    for country, table in _STATES.items():
        by_country[country] = {}
        for row in table.split(";"):
            code, name = row.split(maxsplit=1)
            folded = fold_place(name)
            by_country[country][folded] = code
            anywhere.setdefault(folded, set()).add(code)
    return by_country, anywhere


_BY_COUNTRY, _ANYWHERE = _read_state_tables()


@lru_cache(maxsize=4096)
def state_code(text: str, country: str | None) -> str | None:
    """Return a state's two letters in lower case, from its code or its name, where that is unambiguous.

    ``country`` is an alpha-2 code in lower case, if the country is known.
    """
    lower = text.strip().lower()
    if len(lower) == 2 and lower.isascii() and lower.isalpha():
        return lower
    coded = _ISO_3166_2.fullmatch(lower)
    if coded:
        return coded[1]
    folded = fold_place(text)
    if country in _BY_COUNTRY:
        return _BY_COUNTRY[country].get(folded)
    codes = _ANYWHERE.get(folded, set())
    # A name that a known country outside the tables uses too says nothing here.
    return next(iter(codes)) if len(codes) == 1 and country is None else None
