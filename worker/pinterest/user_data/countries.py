"""Find the code of a country or a state by code or name."""

import re
import unicodedata
from functools import lru_cache

# ISO 3166-1: alpha-2, alpha-3 and the name as people write it in English.
_COUNTRIES = """
ad and Andorra; ae are United Arab Emirates; af afg Afghanistan; ag atg Antigua and Barbuda;
ai aia Anguilla; al alb Albania; am arm Armenia; ao ago Angola; aq ata Antarctica; ar arg Argentina;
as asm American Samoa; at aut Austria; au aus Australia; aw abw Aruba; ax ala Åland Islands;
az aze Azerbaijan; ba bih Bosnia and Herzegovina; bb brb Barbados; bd bgd Bangladesh; be bel Belgium;
bf bfa Burkina Faso; bg bgr Bulgaria; bh bhr Bahrain; bi bdi Burundi; bj ben Benin; bl blm Saint Barthélemy;
bm bmu Bermuda; bn brn Brunei; bo bol Bolivia; bq bes Bonaire; br bra Brazil; bs bhs Bahamas; bt btn Bhutan;
bv bvt Bouvet Island; bw bwa Botswana; by blr Belarus; bz blz Belize; ca can Canada;
cc cck Cocos (Keeling) Islands; cd cod Democratic Republic of the Congo; cf caf Central African Republic;
cg cog Congo; ch che Switzerland; ci civ Côte d'Ivoire; ck cok Cook Islands; cl chl Chile; cm cmr Cameroon;
cn chn China; co col Colombia; cr cri Costa Rica; cu cub Cuba; cv cpv Cabo Verde; cw cuw Curaçao;
cx cxr Christmas Island; cy cyp Cyprus; cz cze Czechia; de deu Germany; dj dji Djibouti; dk dnk Denmark;
dm dma Dominica; do dom Dominican Republic; dz dza Algeria; ec ecu Ecuador; ee est Estonia; eg egy Egypt;
eh esh Western Sahara; er eri Eritrea; es esp Spain; et eth Ethiopia; fi fin Finland; fj fji Fiji;
fk flk Falkland Islands; fm fsm Micronesia; fo fro Faroe Islands; fr fra France; ga gab Gabon;
gb gbr United Kingdom; gd grd Grenada; ge geo Georgia; gf guf French Guiana; gg ggy Guernsey; gh gha Ghana;
gi gib Gibraltar; gl grl Greenland; gm gmb Gambia; gn gin Guinea; gp glp Guadeloupe;
gq gnq Equatorial Guinea; gr grc Greece; gs sgs South Georgia and the South Sandwich Islands;
gt gtm Guatemala; gu gum Guam; gw gnb Guinea-Bissau; gy guy Guyana; hk hkg Hong Kong;
hm hmd Heard Island and McDonald Islands; hn hnd Honduras; hr hrv Croatia; ht hti Haiti; hu hun Hungary;
id idn Indonesia; ie irl Ireland; il isr Israel; im imn Isle of Man; in ind India;
io iot British Indian Ocean Territory; iq irq Iraq; ir irn Iran; is isl Iceland; it ita Italy;
je jey Jersey; jm jam Jamaica; jo jor Jordan; jp jpn Japan; ke ken Kenya; kg kgz Kyrgyzstan;
kh khm Cambodia; ki kir Kiribati; km com Comoros; kn kna Saint Kitts and Nevis; kp prk North Korea;
kr kor South Korea; kw kwt Kuwait; ky cym Cayman Islands; kz kaz Kazakhstan; la lao Laos; lb lbn Lebanon;
lc lca Saint Lucia; li lie Liechtenstein; lk lka Sri Lanka; lr lbr Liberia; ls lso Lesotho;
lt ltu Lithuania; lu lux Luxembourg; lv lva Latvia; ly lby Libya; ma mar Morocco; mc mco Monaco;
md mda Moldova; me mne Montenegro; mf maf Saint Martin; mg mdg Madagascar; mh mhl Marshall Islands;
mk mkd North Macedonia; ml mli Mali; mm mmr Myanmar; mn mng Mongolia; mo mac Macao;
mp mnp Northern Mariana Islands; mq mtq Martinique; mr mrt Mauritania; ms msr Montserrat; mt mlt Malta;
mu mus Mauritius; mv mdv Maldives; mw mwi Malawi; mx mex Mexico; my mys Malaysia; mz moz Mozambique;
na nam Namibia; nc ncl New Caledonia; ne ner Niger; nf nfk Norfolk Island; ng nga Nigeria; ni nic Nicaragua;
nl nld Netherlands; no nor Norway; np npl Nepal; nr nru Nauru; nu niu Niue; nz nzl New Zealand; om omn Oman;
pa pan Panama; pe per Peru; pf pyf French Polynesia; pg png Papua New Guinea; ph phl Philippines;
pk pak Pakistan; pl pol Poland; pm spm Saint Pierre and Miquelon; pn pcn Pitcairn; pr pri Puerto Rico;
ps pse Palestine; pt prt Portugal; pw plw Palau; py pry Paraguay; qa qat Qatar; re reu Réunion;
ro rou Romania; rs srb Serbia; ru rus Russia; rw rwa Rwanda; sa sau Saudi Arabia; sb slb Solomon Islands;
sc syc Seychelles; sd sdn Sudan; se swe Sweden; sg sgp Singapore; sh shn Saint Helena; si svn Slovenia;
sj sjm Svalbard and Jan Mayen; sk svk Slovakia; sl sle Sierra Leone; sm smr San Marino; sn sen Senegal;
so som Somalia; sr sur Suriname; ss ssd South Sudan; st stp Sao Tome and Principe; sv slv El Salvador;
sx sxm Sint Maarten; sy syr Syria; sz swz Eswatini; tc tca Turks and Caicos Islands; td tcd Chad;
tf atf French Southern Territories; tg tgo Togo; th tha Thailand; tj tjk Tajikistan; tk tkl Tokelau;
tl tls Timor-Leste; tm tkm Turkmenistan; tn tun Tunisia; to ton Tonga; tr tur Turkey;
tt tto Trinidad and Tobago; tv tuv Tuvalu; tw twn Taiwan; tz tza Tanzania; ua ukr Ukraine; ug uga Uganda;
um umi United States Minor Outlying Islands; us usa United States; uy ury Uruguay; uz uzb Uzbekistan;
va vat Vatican City; vc vct Saint Vincent and the Grenadines; ve ven Venezuela;
vg vgb British Virgin Islands; vi vir US Virgin Islands; vn vnm Vietnam; vu vut Vanuatu;
wf wlf Wallis and Futuna; ws wsm Samoa; xk xkx Kosovo; ye yem Yemen; yt myt Mayotte; za zaf South Africa;
zm zmb Zambia; zw zwe Zimbabwe
"""

# Other names in use: native, former, long and short ones.
_OTHER_NAMES = """
ae UAE; at Österreich; ba Bosnia; be België; be Belgique; br Brasil; cd Congo Kinshasa;
cd DR Congo; cg Congo Brazzaville; cg Republic of the Congo; ch Schweiz; ch Suisse;
ch Svizzera; ci Ivory Coast; cn 中国; cn Mainland China; cn People's Republic of China;
cv Cape Verde; cz Czech Republic; cz Česko; de Deutschland; de Federal Republic of Germany;
de BRD; dk Danmark; es España; fi Suomi; gb UK; gb Great Britain; gb Britain; gb England;
gb Scotland; gb Wales; gb Northern Ireland; gr Hellas; gr Ελλάδα; hk Hong Kong SAR;
hr Hrvatska; hu Magyarország; ie Éire; ie Republic of Ireland; in Bharat;
ir Islamic Republic of Iran; is Ísland; it Italia; jp 日本; jp Nippon; kr Korea;
kr Republic of Korea; kr 대한민국; lt Lietuva; lv Latvija; mk Macedonia; mm Burma; mo Macau;
nl Holland; nl Nederland; no Norge; nz Aotearoa; ph The Philippines; pl Polska;
ps State of Palestine; ro România; rs Srbija; ru Russian Federation; ru Россия; se Sverige;
si Slovenija; sk Slovensko; sz Swaziland; tl East Timor; tr Türkiye; tw Republic of China;
ua Україна; us America; us United States of America; us Estados Unidos; us US of A;
va Holy See; vn Viet Nam; gb United Kingdom of Great Britain and Northern Ireland;
bn Brunei Darussalam; bo Plurinational State of Bolivia; bq Bonaire, Sint Eustatius and Saba;
cd Congo, Democratic Republic of the; fk Falkland Islands (Malvinas); fm Federated States of Micronesia;
kp Democratic People's Republic of Korea; la Lao People's Democratic Republic; la Lao PDR; lk Democratic
Socialist Republic of Sri Lanka; md Republic of Moldova; mf Saint Martin (French part); mk Republic of North
Macedonia; mk Former Yugoslav Republic of Macedonia; nl Kingdom of the Netherlands; nl The Netherlands;
ps Palestinian Territory; ps Occupied Palestinian Territory; sh Saint Helena, Ascension and Tristan da Cunha;
sx Sint Maarten (Dutch part); sy Syrian Arab Republic; tr Turkiye; tr Republic of Turkiye; tw Taiwan, Province of
China; tz United Republic of Tanzania; ve Bolivarian Republic of Venezuela; vg Virgin Islands, British; vi Virgin
Islands, US; vi United States Virgin Islands; gm The Gambia; bs The Bahamas; cn Peoples Republic of China; us USA
"""


def _fold_place(name: str) -> str:
    """Return a place's name in lower case, without accents, spaces, punctuation and a leading ``the``."""
    letters = (c for c in unicodedata.normalize("NFKD", name).casefold() if c.isalnum())
    return "".join(letters).removeprefix("the")


def _read_tables() -> dict[str, str]:
    codes: dict[str, str] = {}
    for row in _COUNTRIES.replace("\n", " ").split(";"):
        alpha2, alpha3, name = row.strip().split(" ", 2)
        codes |= {alpha2: alpha2, alpha3: alpha2, _fold_place(name): alpha2}
    for row in _OTHER_NAMES.replace("\n", " ").split(";"):
        alpha2, name = row.strip().split(" ", 1)
        codes[_fold_place(name)] = alpha2
    return codes


def _place_words(name: str) -> frozenset[str]:
    """Return the words of a name in no order: ISO writes ``Korea, Republic of`` and ``Korea (the Republic of)``."""
    folded = unicodedata.normalize("NFKD", name).casefold()
    letters = "".join(
        c if c.isalnum() else "" if unicodedata.combining(c) or c in "'.\u2019" else " " for c in folded
    )
    return frozenset(letters.split()) - {"the", "of", "and"}


def _read_words() -> dict[frozenset[str], str]:
    rows = [row.split(None, 2) for row in _COUNTRIES.split(";")]
    other_rows = [row.split(None, 1) for row in _OTHER_NAMES.split(";")]
    names = [(row[2], row[0]) for row in rows] + [(row[1], row[0]) for row in other_rows]
    return {_place_words(name): alpha2 for name, alpha2 in names if len(_place_words(name)) > 1}


_BY_NAME = _read_tables()
_BY_WORDS = _read_words()


@lru_cache(maxsize=4096)
def country_code(text: str) -> str | None:
    """Return the ISO 3166 alpha-2 code, in lower case, of a country's code or name, or None."""
    return _BY_NAME.get(_fold_place(text)) or _BY_WORDS.get(_place_words(text))


# Countries whose states have two-letter codes in everyday use.
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
            folded = _fold_place(name)
            by_country[country][folded] = code
            anywhere.setdefault(folded, set()).add(code)
    return by_country, anywhere


_BY_COUNTRY, _ANYWHERE = _read_state_tables()


@lru_cache(maxsize=4096)
def state_code(text: str, country: str | None) -> str | None:
    """Return a state's two-letter code, in lower case, by code or name; None if it is unknown or ambiguous.

    ``country`` is an alpha-2 code in lower case, or None if the country is unknown.
    """
    lower = text.strip().lower()
    if len(lower) == 2 and lower.isascii() and lower.isalpha():
        return lower
    coded = _ISO_3166_2.fullmatch(lower)
    if coded:
        return coded[1]
    if len(dotted := lower.replace(".", "").replace(" ", "")) == 2 and dotted.isascii() and dotted.isalpha():
        return dotted
    folded = _fold_place(text)
    if country in _BY_COUNTRY:
        return _BY_COUNTRY[country].get(folded)
    codes = _ANYWHERE.get(folded, set())
    # The name may also be a state of a country that is not in the tables.
    return next(iter(codes)) if len(codes) == 1 and country is None else None
