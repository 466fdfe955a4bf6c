"""What in a text tells who somebody is or where to reach them, and the text without it.

Reviews are written by real people, of real people. Before one is shown or put into a prompt, what a pattern can find gives way to a
sign in round brackets that says what stood there, `(name)`: square brackets would not survive the fence.

A name is known by what stands around it ("my daughter Anna", "Thanks Maria!", "- Peter K." at the end) and is then masked wherever
else the text says it. A bare "Anna" that nothing introduces, a name in small letters and one in a script without capitals are not
recognized: there is no list of names here. Brands, models, sizes and years are not personal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

NAME, MAIL, PHONE, NUMBER, ADDRESS, LINK = "(name)", "(e-mail)", "(phone)", "(number)", "(address)", "(link)"
"""What stands for what was masked."""

_UPPER = "A-ZÀ-ÖØ-ÞĄĆČĎĘĚĞİŁŃŇŐŘŚŞŠŤŰŹŻŽ"
_WORD = rf"(?:[{_UPPER}][^\W\d_{_UPPER}]+(?:['’-][{_UPPER}][^\W\d_{_UPPER}]+)*|O['’][{_UPPER}][^\W\d_{_UPPER}]+)"
_FULL = rf"{_WORD}(?: (?:{_WORD}|[{_UPPER}]\b\.?))?"
_LIST = rf"(?P<name>{_FULL}(?:(?:, | and | & |, and ){_FULL})*)"
_KIN = (
    "daughter|son|child|kid|baby|toddler|boy|girl|twin|wife|husband|spouse|partner|fianc[ée]e?|boyfriend|girlfriend|mother|father|mom|mum|"
    "dad|sister|brother|grandson|granddaughter|grandchild|grandmother|grandfather|grandma|grandpa|niece|nephew|aunt|uncle|cousin|"
    "in-law|friend|neighbou?r|boss|colleague|co-?worker|roommate|flatmate|teacher|doctor|student"
)
_KIN_ABROAD = (
    "[Mm]eine?[mnr]? (?:Tochter|Sohn|Frau|Mann|Mutter|Vater|Freund|Freundin|Bruder|Schwester)|[Mm](?:a|on) "
    "(?:fille|fils|femme|mari|mère|père|sœur|frère|amie?)|[Mm]i (?:hij[ao]|espos[ao]|mujer|marido|madre|padre|herman[ao]|amig[ao])"
)
# Capitalised words that may follow such an introduction without being anybody's name.
_NO_NAME = frozenset(
    """
    a absolutely after all also although always amazon american amazing an and apple are as asian at australian awesome bad bathroom be
    because bed been before best birthday black blue british brown but buy by can canadian catholic chinese christian christmas cheap
    could customer definitely did do does don easter ebay english enjoyed enjoys even ever every everyone excellent facebook fast
    father february for french friday from gave german get gets god goodness google gold good got great green gray grey had halloween
    happy has have he heaven heavens her here highly his how however i if in indian irish is it italian january japanese jesus jewish
    just korean lego like liked likes lord love loved lovely loves made make makes mexican microsoft monday more mother muslim my needed
    needs never nice nintendo no not november now october of on one only or orange our perfect pink pleased pokemon purchased purple
    quality really recommended recommend red said samsung santa saturday saw says scottish she should simply since sir so sony spanish
    still such sunday super team thank thanks that the their them then there these they thinks this those though three thursday to too
    tuesday two u use used uses valentine very walmart want wanted wants was we wednesday well were what when which while white who will
    with wonderful works worth would x-mas xmas yellow yes you your approved march april may june july august september december ps tv
    cd dvd usb led day everybody guys folks color colour vitamin again anyway
    """.split()
)
# Trademarks that look like somebody's name.
_BRANDS = (
    r"(?!Mr\.? (?:Coffee|Clean|Bubble|Heater|Beams|Potato|Muscle)|Mrs\.? (?:Meyer|Dash)|"
    r"Dr\.? (?:Bronner|Scholl|Pepper|Martens|Seuss|Who|Hauschka|Brandt|Oetker|Jart|Teal|Dre\b|Brown['’]s))"
)
_NAMES = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        rf"\b(?i:my|our|his|her|their|your)\s+(?:[\w-]+\s+){{0,2}}?(?i:{_KIN})s?,?\s+(?i:named\s+|called\s+)?{_LIST}",
        rf"\b(?:{_KIN_ABROAD}),?\s+{_LIST}",
        rf"\b(?:Aunt|Auntie|Uncle|Grandma|Grandpa|Granny|Nana|Cousin)\s+{_LIST}",
        rf"\b(?i:thanks|thank you|thx|shout-?out|kudos|props|hats off)(?:\s+(?:so much|a lot|very much|again|to|goes))*,?\s+{_LIST}",
        rf"\b(?i:signed|sincerely|(?:best|kind|warm)?\s*regards|best wishes)\s*[,:]?\s*\n?\s*[-–—]?\s*{_LIST}",
        rf"\b(?i:yours|yours truly|cheers|greetings|love|best|xoxo),\s*\n?\s*{_LIST}(?=\W*\Z)",
        rf"\b(?i:my name is|my name's|(?:{_KIN})['’]s name is|(?:(?:a|the|our|my) (?:guy|man|woman|lady|rep|agent|driver|"
        rf"seller)) named)\s+{_LIST}",
        rf"\b(?:I am|I['’]m|[Tt]his is)\s+{_LIST}(?=,|!|\s+(?:from|and I)\b)",
        rf"\b(?i:spoke|talked|chatted|dealt)\s+(?:to|with)\s+{_LIST}",
        rf"\b(?i:representative|rep|technician|installer|salesman|saleswoman)\s*,?\s+{_LIST}",
        # A signature at the end: after a finished sentence, or with the initial of a family name.
        rf"(?:[.!?…)]|^)\s*[-–—~]+\s*(?P<name>{_WORD}(?: (?:{_WORD}|[{_UPPER}]\.?))?)\W*\Z",
        rf"\s[-–—~]+\s*(?P<name>{_WORD} [{_UPPER}]\.?)\W*\Z",
    )
]
_TITLED = re.compile(
    rf"\b{_BRANDS}(?:Mr|Mrs|Ms|Mx|Dr|Prof|Miss|Mister|Herr|Frau|Mme|Madame|Monsieur|Señora?|Pastor|Officer)\b\.?\s+{_LIST}"
)
_UNIT = r"(?!\s?(?:m?[aw]h?|[km]?hz|[km]?w|kg|k?m|[cm]m|g|lb|lbs|gb|tb|mb|dpi|rpm|lumens?|lux|btu|hours|times|miles|pieces|pages)\b)"
_STATES = "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]"  # of the USA
_STREETS = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|(?<!Hard )(?<!Flash )(?<!Disk )(?<!Thumb )(?<!External )Drive|Court|Ct|Place|Pl|"
    "Square|Sq|Terrace|Crescent|Highway|Hwy|Parkway|Pkwy"
)
# In this order: what an earlier one takes is no longer there for a later one.
_REACHED = [
    (sign, re.compile(pattern))
    for sign, pattern in (
        (MAIL, r"(?<![\w.%+-])[\w.%+-]+@[\w-]+(?:\.[\w-]+)+"),
        (MAIL, r"(?i)(?<![\w.+-])[\w.+-]+\s*[(\[]\s*(?:at|@)\s*[)\]]\s*[\w-]+\s*(?:\.|[(\[]\s*(?:dot|\.)\s*[)\]]|\sdot\s)\s*[a-z]{2,}\b"),
        (MAIL, r"(?i)(?<![\w.+-])[\w.+-]+ at [\w-]+ dot (?:com|net|org|de|fr|uk|co)\b"),
        (MAIL, r"(?<![\w@])@[A-Za-z_]\w{2,}"),
        (LINK, r"(?i)\b(?:https?|ftp|hxxps?)\s?:\s?/\s?/\s?[^\s<>]+|\bwww\.[^\s<>]+"),
        (LINK, r"(?i)(?<![\w.-])(?:[a-z][\w-]*\.)+(?:com|net|org|info|biz|shop|store|xyz|co\.uk|ru|cn)\b(?:/[^\s<>]*)?"),
        (LINK, r"(?i)\b[a-z][\w-]+\.[a-z]{2,}/\w\S*"),
        (NUMBER, r"\b[A-Z]{2}\d{2}(?=(?: ?[A-Z]*\d){8})(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
        (NUMBER, r"\b\d{4}([ -]?)\d{4}\1\d{4}\1\d{1,7}\b|\b3\d{3}([ -]?)\d{6}\2\d{5}\b"),
        (NUMBER, r"\b\d{3}-\d{7}-\d{7}\b|\b1Z ?[0-9A-Z]{16}\b|\b\d{3}-\d{2}-\d{4}\b"),
        (
            NUMBER,
            r"(?i)(?<=\b)(?:(?:order|invoice|tracking|ticket|case|reference|ref|confirmation|customer|account|receipt|booking|rma|member"
            r"(?:ship)?|shipment|parcel|serial|passport|licen[cs]e|bestellnummer|rechnungsnummer)\s*)"
            r"(?:(?:number|num|no\.?|nr\.?|id|code|#|№|is|was|:)\s*)*(?<=[\s#№:.])"
            rf"(?P<part>(?=[\w-]*\d{{2}})(?=(?:[\w-]*?\d){{5}})[a-z0-9][\w-]*)(?![\w-]){_UNIT}",
        ),
        (
            PHONE,
            r"(?i)\b(?:call|phone|tel|telephone|text|whatsapp|fax|mobile|cell|handy|ring)\b\.?(?:\s*(?:me|us|him|her|them|at|on|is|"
            r"number|no\.?|"
            r"under|:|#))*\s*(?P<part>\+?\(?\d(?:[ ()./-]{0,2}\d){6,13})",
        ),
        (PHONE, r"\+\d(?:[ ()./-]{0,2}\d){7,13}\b"),
        (PHONE, r"(?<![\w.,-])\(?\d{3}\)?[-. ]\s?\d{3}[-. ]\d{4}\b"),
        (PHONE, r"(?<![\w.,-])(?!\d{1,2}[-/. ]\d{1,2}[-/. ]\d{2,4}\b)\(?0\d{1,5}\)?(?=(?:[ /-]{0,3}\d){6})(?:[ /-]{1,3}\d{2,})+\b"),
        (NUMBER, r"\b(?!\d*000\b)\d{7,}\b" + r"(?i:" + _UNIT + ")"),
        (ADDRESS, r"\b(?i:p\.?\s?o\.?\s?box)\s*\d+"),
        (
            ADDRESS,
            rf"\b\d{{1,5}}[a-zA-Z]?,?\s+(?:[NSEW]\.?\s+)?(?:{_WORD}\s+|\d+(?:st|nd|rd|th)\s+){{1,3}}(?:{_STREETS})\b\.?"
            rf"(?:,?\s+(?:Apt|Apartment|Suite|Unit|#)\.?\s*\w+)?(?:,\s*{_WORD}(?: {_WORD})?)?"
            rf"(?:,?\s+(?:{_STATES}),?\s+\d{{5}}(?:-\d{{4}})?)?",
        ),
        (
            ADDRESS,
            rf"\b(?:{_WORD}[ -])?[{_UPPER}]\w*(?:straße|strasse|str\.|gasse|allee|weg|"
            rf"platz)\s+\d{{1,4}}\s?[a-z]?\b(?:,\s*\d{{5}}\s+{_WORD})?",
        ),
        (ADDRESS, rf"\b\d{{1,4}},?\s+(?i:rue|boulevard|chemin|impasse|quai)\s+(?:(?:de|du|des|la|le|les)\s+|[dl]['’])*{_WORD}"),
        (ADDRESS, rf"\b(?:[Cc]alle|[Aa]venida|[Vv]ia|[Pp]iazza)\s+(?:(?:de|del|la|el|di)\s+)*{_WORD}(?: {_WORD})*,?\s+\d{{1,4}}\b"),
        (ADDRESS, rf"\b(?:{_WORD},?\s+)?(?:{_STATES}),?\s+\d{{5}}(?:-\d{{4}})?\b"),
        (ADDRESS, r"\b[A-Z]{1,2}\d[A-Z\d]? \d(?!GB|TB|MB|KG|MM|CM|FT|IN|HZ|PC|PK)[A-Z]{2}\b"),
    )
]


def mask(text: str) -> str:
    """The text with signs for what is personal in it; the same text where nothing is.

    Masking twice changes nothing. Invisible characters cannot hide an address: where something is masked they are gone.
    """
    seen = "".join(c for c in text if unicodedata.category(c) != "Cf")
    masked = seen
    for sign, pattern in _REACHED:
        masked = pattern.sub(lambda found, sign=sign: _instead(found, sign), masked)  # type: ignore[misc]
    for name in sorted(set(_names(masked)), key=len, reverse=True):
        masked = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", NAME, masked)
    return text if masked == seen else masked


def personal(text: str) -> bool:
    """Whether a text says who somebody is or where to reach them, as far as a pattern can tell."""
    return mask(text) != text


def _instead(found: re.Match[str], sign: str) -> str:
    """What was found, with the sign in place of its telling part."""
    whole = found[0]
    return whole[: -len(part)] + sign if (part := found.groupdict().get("part")) else sign


def _names(text: str) -> Iterator[str]:
    """What somebody is called, in whole and word by word, as the text introduces them."""
    small = set(re.findall(r"[^\W\d_]+", text))
    for pattern in (*_NAMES, _TITLED):
        for found in pattern.finditer(text):
            for one in re.split(r", and |, | and | & ", found["name"]):
                words = one.split()
                # A word that nobody is called, or that the text also writes in small letters, ends the list. After "Mr." it is a name.
                if pattern is not _TITLED and (words[0].casefold() in _NO_NAME or words[0].casefold() in small):
                    break
                if len(words) > 1 and words[1].casefold() not in _NO_NAME:
                    yield one
                    yield from (word for word in words[1:] if len(word.rstrip(".")) > 1)
                yield words[0]
