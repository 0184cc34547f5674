"""Find the country of a person whose traits do not name it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from worker.pinterest.user_data.countries import country_code

_LONGEST = 64
# Currencies of one country, or of one where most buyers who pay with them live. The euro has none.
_CURRENCIES = """
ae AED; ar ARS; au AUD; bg BGN; br BRL; ca CAD; ch CHF; cl CLP; cn CNY; co COP; cz CZK; dk DKK; eg EGP;
gb GBP; hk HKD; hu HUF; id IDR; il ILS; in INR; is ISK; jp JPY; ke KES; kr KRW; kz KZT; ma MAD; mx MXN;
my MYR; ng NGN; no NOK; nz NZD; pe PEN; ph PHP; pk PKR; pl PLN; qa QAR; ro RON; rs RSD; ru RUB; sa SAR;
se SEK; sg SGD; th THB; tr TRY; tw TWD; ua UAH; us USD; uy UYU; vn VND; za ZAR
"""
_BY_CURRENCY = {row.split()[1]: row.split()[0] for row in _CURRENCIES.split(";")}


def person_regions(
    stated: Sequence[object],
    remembered: str | None,
    default: str | None,
    properties: Mapping[str, Any],
    context: Mapping[str, Any],
) -> Iterator[str]:
    """Yield a person's likely countries, alpha-2 in lower case, the most certain first. One may come twice.

    The order: a country that the event states, the country of an earlier ``identify`` call, the default of the
    integration or else of the source, the currency, the locale. Phone numbers, states and free text use the same order.
    """
    for raw in stated:
        if isinstance(raw, str) and len(raw) <= _LONGEST and (code := country_code(raw)):
            yield code
    if remembered:
        yield remembered
    if default:
        yield default.lower()
    currency = properties.get("currency")
    if isinstance(currency, str) and (by_currency := _BY_CURRENCY.get(currency.strip().upper())):
        yield by_currency
    locale = context.get("locale")
    if isinstance(locale, str) and len(locale) <= _LONGEST:
        # The region follows the language and perhaps the script, as in zh-Hant-TW.
        for part in locale.partition(".")[0].replace("_", "-").split("-")[1:]:
            if len(part) == 2 and country_code(part) == part.lower():
                yield part.lower()
