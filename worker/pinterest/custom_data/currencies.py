"""Find the ISO 4217 code of a currency by code, number, sign or name."""

import html
import unicodedata
from functools import lru_cache

from worker.event.text import clean_text, fold_keys

# ISO 4217 without funds, metals and test codes, with the numbers.
_CODES = """
AED784 AFN971 ALL008 AMD051 AOA973 ARS032 AUD036 AWG533 AZN944 BAM977 BBD052 BDT050 BGN975 BHD048 BIF108
BMD060 BND096 BOB068 BRL986 BSD044 BTN064 BWP072 BYN933 BZD084 CAD124 CDF976 CHF756 CLF990 CLP152 CNY156
COP170 CRC188 CUP192 CVE132 CZK203 DJF262 DKK208 DOP214 DZD012 EGP818 ERN232 ETB230 EUR978 FJD242 FKP238
GBP826 GEL981 GHS936 GIP292 GMD270 GNF324 GTQ320 GYD328 HKD344 HNL340 HRK191 HTG332 HUF348 IDR360 ILS376
INR356 IQD368 IRR364 ISK352 JMD388 JOD400 JPY392 KES404 KGS417 KHR116 KMF174 KPW408 KRW410 KWD414 KYD136
KZT398 LAK418 LBP422 LKR144 LRD430 LSL426 LYD434 MAD504 MDL498 MGA969 MKD807 MMK104 MNT496 MOP446 MRU929
MUR480 MVR462 MWK454 MXN484 MYR458 MZN943 NAD516 NGN566 NIO558 NOK578 NPR524 NZD554 OMR512 PAB590 PEN604
PGK598 PHP608 PKR586 PLN985 PYG600 QAR634 RON946 RSD941 RUB643 RWF646 SAR682 SBD090 SCR690 SDG938 SEK752
SGD702 SHP654 SLE925 SLL694 SOS706 SRD968 SSP728 STN930 SVC222 SYP760 SZL748 THB764 TJS972 TMT934 TND788
TOP776 TRY949 TTD780 TWD901 TZS834 UAH980 UGX800 USD840 UYU858 UZS860 VED926 VES928 VND704 VUV548 WST882
XAF950 XCD951 XCG532 XOF952 XPF953 YER886 ZAR710 ZMW967 ZWG924 ZWL932
"""
_NUMBERS = {pair[3:]: pair[:3] for pair in _CODES.split()}
_CURRENCY_CODES = frozenset(_NUMBERS.values())

# Signs without points and spaces, in lower case. The first currency of a sign is the usual one; after a question mark
# there is no usual one.
_SIGNS = """
€ EUR; £ GBP EGP GIP FKP SHP LBP SYP SSP SDG; ₤ GBP; ₹ INR; ₩ KRW KPW; 원 KRW; ₫ VND; đ VND; vnđ VND; ₪ ILS;
₺ TRY; tl TRY; ₽ RUB; руб RUB BYN; р RUB BYN; ₴ UAH; грн UAH; ₦ NGN; ₱ PHP CUP; ฿ THB; บาท THB; zł PLN; zl
PLN; kč CZK; kc CZK; ft HUF; лв BGN; lei RON MDL; leu RON MDL; din RSD; дин RSD; ден MKD; km BAM; kn HRK; ₸
KZT; тг KZT; ₼ AZN; ₾ GEL; ֏ AMD; ₮ MNT; ₭ LAK; ៛ KHR; ৳ BDT; tk BDT; ₡ CRC SVC; ₲ PYG; ₵ GHS; gh₵ GHS; gh¢
GHS; rp IDR; rm MYR; r ZAR; s/ PEN; b/ PAB; bs BOB VES; q GTQ; ksh KES; tsh TZS; ush UGX; dh ? AED MAD; dhs
? AED MAD; sr SAR; qr QAR; kd KWD; bd BHD; ro OMR; dt TND; jd JOD; le EGP; e£ EGP; دإ AED; رس SAR; ⃁ SAR; رق
QAR; دك KWD; دب BHD; رع OMR; جم EGP; دم MAD; دت TND; دج DZD; دأ JOD; دع IQD; ریال IRR SAR QAR OMR YER; ريال
SAR QAR OMR YER; درهم AED MAD; جنيه EGP; $ ? USD CAD AUD NZD HKD SGD TWD MXN ARS CLP COP UYU DOP JMD TTD BSD
BBD BZD BMD BND FJD GYD KYD LRD NAD SBD SRD XCD ZWG ZWL; us$ USD; u$s USD; u$d USD; usd$ USD; c$ CAD NIO;
ca$ CAD; can$ CAD; cad$ CAD; a$ AUD; au$ AUD; aud$ AUD; nz$ NZD; hk$ HKD; s$ SGD; sg$ SGD; nt$ TWD; nt TWD;
mx$ MXN; mex$ MXN; r$ BRL; ar$ ARS; clp$ CLP; col$ COP; cop$ COP; rd$ DOP; j$ JMD; tt$ TTD; mop$ MOP; $u
UYU; n$ NAD; ec$ XCD; ¥ ? JPY CNY; 円 JPY; 元 CNY TWD HKD; 圓 TWD HKD; jp¥ JPY; cn¥ CNY; rmb¥ CNY; rmb CNY; kr
? SEK NOK DKK ISK; skr SEK; nkr NOK; dkr DKK; ikr ISK; fr ? CHF XOF XAF XPF; sfr CHF; fs CHF; f ? CHF XOF
XAF XPF; cfa ? XOF XAF; fcfa ? XOF XAF; fcfp XPF; cfpf XPF; rs ? INR PKR LKR NPR MUR SCR; nrs NPR; nr NPR; php PHP;
mga MGA
"""  # noqa: RUF001 - the letters are those of the signs
_SIGN_CURRENCIES = {
    sign: tuple(codes) for sign, *codes in (line.split() for line in _SIGNS.split(";") if line.strip())
}

# Names in English and in the languages of the currency's users (Unicode CLDR and usual short forms), folded and
# without a plural's s.
_NAMES = """
AED unitedarabemiratesdirham uaedirham درهمإماراتي emiratidirham; AFN afghanafghani; ALL albanianlek
albanianlekë; AMD armeniandram; AOA angolankwanza; ARS argentinepeso pesoargentino pesosargentino; AUD
australiandollar; AWG arubanflorin; AZN azerbaijanimanat; BAM bosniaherzegovinaconvertiblemark; BBD
barbadiandollar; BDT bangladeshitaka; BGN bulgarianlev bulgarianleva българскилев българскилева лев лева; BHD
bahrainidinar; BIF burundianfranc; BMD bermudandollar; BND bruneidollar; BOB bolivianboliviano; BRL
brazilianreal realbrasileiro reaisbrasileiro reais reai; BSD bahamiandollar; BTN bhutanesengultrum; BWP
botswananpula; BYN belarusianruble; BZD belizedollar; CAD canadiandollar; CDF congolesefranc; CHF swissfranc
schweizerfranken francsuisse francssuisse francosvizzero franchisvizzeri franken schweizerfrank; CLF
chileanunitofaccountuf chileanunitsofaccountuf; CLP chileanpeso pesochileno pesoschileno; CNY chineseyuan 人民币
renminbiyuan chinesischeryuan yuanrenminbichinoi yuansrenminbichinoi rmb renminbi yuan 人民幣 元 人民币元; COP
colombianpeso pesocolombiano pesoscolombiano; CRC costaricancolón; CUP cubanpeso; CVE capeverdeanescudo; CZK
czechkoruna českákoruna českékoruny českýchkorun korunačeská koruna; DJF djiboutianfranc; DKK danishkrone
danishkroner danskkrone danskekroner; DOP dominicanpeso; DZD algeriandinar; EGP egyptianpound جنيهمصري
جنيهانمصريان جنيهاتمصرية جنيهامصريا; ERN eritreannakfa; ETB ethiopianbirr; EUR euro ευρώ евро евра; FJD
fijiandollar; FKP falklandislandspound; GBP poundssterling britishpound britischespfund britischepfund livresterling
livressterling libraesterlina librasesterlina sterlinabritannica sterlinebritanniche poundsterling sterling
gbpound; GEL georgianlari; GHS ghanaiancedi; GIP gibraltarpound; GMD gambiandalasi; GNF guineanfranc; GTQ
guatemalanquetzal; GYD guyanaesedollar; HKD hongkongdollar; HNL honduranlempira; HRK croatiankuna; HTG
haitiangourde; HUF hungarianforint magyarforint forint; IDR indonesianrupiah rupiahindonesia rupiah; ILS
israelinewshekel שקלחדש שקליםחדשים shekel newisraelishekel israelishekel שקל; INR indianrupee; IQD iraqidinar;
IRR iranianrial; ISK icelandickróna icelandickrónur íslenskkróna íslenskarkrónur; JMD jamaicandollar; JOD
jordaniandinar; JPY japaneseyen 日本円 円 japanischeryen japanischeyen yenjaponai yensjaponai yen; KES
kenyanshilling; KGS kyrgyzsom; KHR cambodianriel; KMF comorianfranc; KPW northkoreanwon; KRW southkoreanwon
대한민국원 won koreanwon 원; KWD kuwaitidinar ديناركويتي; KYD caymanislandsdollar; KZT kazakhstanitenge tenge; LAK
laotiankip; LBP lebanesepound; LKR srilankanrupee; LRD liberiandollar; LSL lesotholoti; LYD libyandinar; MAD
moroccandirham; MDL moldovanleu moldovanlei; MGA malagasyariary malagasyariarie; MKD macedoniandenar
macedoniandenari; MMK myanmarkyat; MNT mongoliantugrik; MOP macanesepataca; MRU mauritanianouguiya; MUR
mauritianrupee; MVR maldivianrufiyaa; MWK malawiankwacha; MXN mexicanpeso pesomexicano pesosmexicano; MYR
malaysianringgit ringgitmalaysia ringgit; MZN mozambicanmetical; NAD namibiandollar; NGN nigeriannaira naira;
NIO nicaraguancórdoba; NOK norwegiankrone norwegiankroner norskekroner norskkrone; NPR nepaleserupee; NZD
newzealanddollar; OMR omanirial; PAB panamanianbalboa; PEN peruviansol peruviansole solperuano solesperuano;
PGK papuanewguineankina; PHP philippinepeso philippinepiso; PKR pakistanirupee; PLN polishzloty złotypolski
złotepolskie złotychpolskich złotegopolskiego zloty złoty złotych złote zloti; PYG paraguayanguarani; QAR
qataririyal ريالقطري; RON romanianleu romanianlei leuromânesc leiromânești leiromanesti; RSD serbiandinar
српскидинар српскадинара српскихдинара srpskidinar srpskadinara srpskihdinara; RUB russianruble
российскийрубль российскихрубля российскихрублей российскогорубля рубль рубля рублей рубли rouble
russianrouble; RWF rwandanfranc; SAR saudiriyal ريالسعودي; SBD solomonislandsdollar; SCR seychelloisrupee; SDG
sudanesepound; SEK swedishkrona swedishkronor svenskkrona svenskakronor; SGD singaporedollar; SHP
sthelenapound; SLE sierraleoneanleone; SOS somalishilling; SRD surinamesedollar; SSP southsudanesepound; STN
sãotomépríncipedobra; SVC salvadorancolón; SYP syrianpound; SZL swazililangeni
; THB thaibaht บาท บาทไทย baht; TJS tajikistanisomoni; TMT turkmenistanimanat; TND
tunisiandinar; TOP tonganpaanga tonganpaʻanga; TRY turkishlira türklirası türklira turklirasi; TTD trinidadtobagodollar;
TWD newtaiwandollar 新台幣 taiwandollar taiwanesedollar; TZS tanzanianshilling; UAH ukrainianhryvnia
українськагривня українськігривні українськихгривень українськоїгривні hryvnia гривня гривні гривень; UGX
ugandanshilling; USD usdollar dólarestadounidense dólaresestadounidense dollardesétatsuni dollarsdesétatsuni
unitedstatesdollar americandollar dólaramericano; UYU uruguayanpeso; UZS uzbekistanisom; VED bolívarsoberano;
VES venezuelanbolívar; VND vietnamesedong đồngviệtnam dong vietnamdong đồng; VUV vanuatuvatu; WST samoantala;
XAF centralafricancfafranc; XCD eastcaribbeandollar; XCG caribbeanguilder; XOF westafricancfafranc; XPF
cfpfranc; YER yemenirial; ZAR southafricanrand rand; ZMW zambiankwacha; ZWG zimbabweangold;
"""  # noqa: RUF001 - the letters are those of the languages
_NAME_CURRENCIES = {
    name: code
    for code, *names in (line.split() for line in _NAMES.split(";") if line.strip())
    for name in names
}
_LONGEST = 64
# Two letters in the place of a currency may be a country, but not these.
_SHORT_SIGNS = frozenset(("ft", "rp", "rm", "zl", "kc", "tl"))


def currency_code(value: object) -> str | None:
    """Return the ISO 4217 code of a code, a number, an unambiguous sign or a name, or None.

    An object is read by the key that holds its code.
    """
    if type(value) is str and value in _CURRENCY_CODES:
        return value
    if type(value) is dict:
        folded = fold_keys(value)
        keys = ("code", "currencycode", "isocode", "currency", "iso", "id", "symbol", "name")
        return next((code for key in keys if (code := currency_code(clean_text(folded.get(key))))), None)
    text = clean_text(value, _LONGEST)
    return _find_code(text) if text is not None else None


@lru_cache(maxsize=1024)
def _find_code(text: str) -> str | None:
    text = plain_text(text)
    code = text.upper()
    if code in _CURRENCY_CODES:
        return code
    if text.isdecimal() and len(text) <= 3:
        return _NUMBERS.get(text.zfill(3))
    is_short = text.isascii() and text.isalpha() and len(text) <= 2 and text.lower() not in _SHORT_SIGNS
    signs = () if is_short else sign_currencies(text)
    name = "".join(filter(str.isalnum, text.casefold())).removesuffix("s")
    return signs[0] if signs and signs[0] != "?" else _NAME_CURRENCIES.get(name)


def sign_currencies(sign: str) -> tuple[str, ...]:
    """Return the currencies of a sign or code, the usual one first, or ``?`` first if there is no usual one."""
    code = sign.upper()
    if code in _CURRENCY_CODES:
        return (code,)
    return _SIGN_CURRENCIES.get("".join(sign.casefold().replace(".", "").split()), ())


def plain_text(text: str) -> str:
    """Return a text without entities and marks of direction, with usual forms of letters, digits and spaces."""
    if "&" in text:
        # Some templates escape twice.
        text = html.unescape(html.unescape(text))
    if text.isascii():
        return text.strip()
    text = unicodedata.normalize("NFKC", "".join(filter(_is_shown, text)))
    return "".join(str(unicodedata.decimal(letter, letter)) for letter in text).strip()


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) != "Cf"
