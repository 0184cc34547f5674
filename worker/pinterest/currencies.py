"""Currencies: their codes, signs and habits of writing numbers."""

from worker.events.text import clean_text

# ISO 4217, with those that are in a shop's use; funds, metals and test codes are left out.
_CODES = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL
LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR
PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND
TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ZWL
"""
CODES = frozenset(_CODES.split())

# Signs that belong to one currency alone. A dollar, a pound or a crown could be many.
_SIGNS = """
€ EUR; ₹ INR; ₩ KRW; ₫ VND; ₪ ILS; ₺ TRY; ₽ RUB; ₴ UAH; ₦ NGN; ₱ PHP; ฿ THB; zł PLN; Kč CZK; R$ BRL;
US$ USD; C$ CAD; CA$ CAD; A$ AUD; AU$ AUD; NZ$ NZD; HK$ HKD; S$ SGD; MX$ MXN; £ GBP
"""
SIGNS: dict[str, str] = dict(pair.split() for pair in _SIGNS.split(";"))

# Where a point parts the thousands and a comma the cents. Elsewhere it is unknown, or the other way round.
_POINT_GROUPS = """
EUR BRL ARS CLP COP IDR TRY DKK VND UYU PYG RON RSD ISK BAM MKD CRC VES AOA MZN STN
"""
POINT_GROUPS = frozenset(_POINT_GROUPS.split())
_COMMA_GROUPS = """
USD GBP AUD CAD NZD HKD SGD JPY CNY KRW INR MXN ILS THB TWD PHP MYR PKR BDT LKR NGN KES GHS EGP AED SAR QAR
BHD KWD OMR JOD TTD JMD BSD BBD DOP GTQ HNL PEN PAB NIO
"""
COMMA_GROUPS = frozenset(_COMMA_GROUPS.split())
# Three decimals are usual here, so that a single group of three digits could be either.
THREE_DECIMALS = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])


def currency_code(value: object) -> str | None:
    """Return the ISO 4217 code in upper case that a code or an unmistakable sign stands for."""
    text = clean_text(value, 8)
    if text is None:
        return None
    code = text.upper()
    return code if code in CODES else SIGNS.get(text)
