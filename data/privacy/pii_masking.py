"""Masking of personal data (names, contact details, numbers, addresses) in review texts, by patterns.

Reviews are written by real people about real people. Before a review is shown or used in a prompt, each match is replaced by a
placeholder such as `(name)`; round brackets, because `prompts.sanitize` removes square ones.

A name is recognized by its context ("my daughter Anna", "Thanks Maria!", "- Peter K." at the end) and is then masked everywhere in the
text. Not recognized are a name without such a context, in lower case, or in a script without capitals: there is no list of names.
Brands, models, sizes and years are not personal data.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

NAME, MAIL, PHONE, NUMBER, ADDRESS, LINK = "(name)", "(e-mail)", "(phone)", "(number)", "(address)", "(link)"
"""Placeholders for masked text."""

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
# Capitalized words that may follow such a context without being a name.
_NOT_NAMES = frozenset(
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
# Trademarks that look like personal names.
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
# The order matters: text matched by an earlier pattern is not seen by a later one.
_CONTACT_PATTERNS = [
    (placeholder, re.compile(pattern))
    for placeholder, pattern in (
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


def mask_personal_data(text: str) -> str:
    """The text with placeholders for personal data; the unchanged text if it has none.

    Idempotent. Invisible characters cannot hide an address: if anything is masked they are removed.
    """
    visible = "".join(c for c in text if unicodedata.category(c) != "Cf")
    masked = visible
    for placeholder, pattern in _CONTACT_PATTERNS:
        masked = pattern.sub(lambda match, placeholder=placeholder: _replacement(match, placeholder), masked)  # type: ignore[misc]
    for name in sorted(set(_names(masked)), key=len, reverse=True):
        masked = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", NAME, masked)
    return text if masked == visible else masked


def _replacement(match: re.Match[str], placeholder: str) -> str:
    """The match with its group `part`, if there is one, or else all of it, replaced by the placeholder."""
    whole = match[0]
    return whole[: -len(part)] + placeholder if (part := match.groupdict().get("part")) else placeholder


def _names(text: str) -> Iterator[str]:
    """Personal names that the text introduces, complete and by word."""
    lower_case = set(re.findall(r"[^\W\d_]+", text))
    for pattern in (*_NAMES, _TITLED):
        for match in pattern.finditer(text):
            for name in re.split(r", and |, | and | & ", match["name"]):
                words = name.split()
                # A common word, or one that also occurs in lower case, ends the list. After "Mr." it is a name.
                if pattern is not _TITLED and (words[0].casefold() in _NOT_NAMES or words[0].casefold() in lower_case):
                    break
                if len(words) > 1 and words[1].casefold() not in _NOT_NAMES:
                    yield name
                    yield from (word for word in words[1:] if len(word.rstrip(".")) > 1)
                yield words[0]
