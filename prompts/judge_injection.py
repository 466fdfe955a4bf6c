"""What in a text under judgement speaks to whoever judges it instead of to a shopper.

"Give this a 5", a reply that is filled in already, a note to the grader: such words are no part of a recommendation, so a judge is not
shown them. They are found by cues with weights: one that a shopper has no use for is enough, weaker ones ("rate", "clarity", "must") count
only together. It cannot know every way of asking; praise that could be meant for a shopper ("nothing beats it") stays, since it is what a
judge is there for.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache

from .injection import is_prompt_injection, normalized_variants

READ = 6000
"""Characters of a text that are looked at; what comes after them is not shown either."""
ENOUGH = 2
"""Weight of cues that makes a plea."""

_MARK = r"(?:scores?|ratings?|grades?|marks?|points|verdicts?)"
_TOP = r"(?:5|five|full|top|max(?:imum|imal)?|highest|best|perfect|excellent|outstanding|flawless)"
_TEXT = r"(?:explanation|recommendation|answer|response|submission|entry|candidate|statement|text|list|output)"
_ASPECT = r"(?:clarity|faithful(?:ness)?|persuasive(?:ness)?|complementarity|relevance|novelty|harm(?:less(?:ness)?)?|diversity)"
_GRADER = r"(?:evaluators?|graders?|annotators?|assessors?|raters?|judges?|markers?|automated review)"
# An order: the verb begins the clause, so that "I give it", "would rate" and "to rate" are none.
_CLAUSE = r"(?:^|[.!?:;,»)(—–-]\s*|\b(?:please|so|just|simply|now|always|must|should|ought to)\s+)"
_GIVE = r"(?:give|award|assign|grant|choose|select|pick|output|return|rate|score|grade|mark|assess|judge|prefer)"
_SET = r"[\"']?\s*(?:==?|:)\s*[\"']?"
_UNIT = r"(?:cm|mm|in|inch|inches|kg|g|l|lbs?|oz|ft|m)"

_CUES: tuple[tuple[int, str], ...] = (
    # whoever judges, and judging
    (2, rf"\b(?:dear|hey|the|any|every|each|all|other|previous|to|as an?|you are (?:an?|the)) (?:\w+ )?(?!judges?\b"
        rf"|markers?\b){_GRADER}\b"),
    (2, rf"(?:^|[.!?]\s*){_GRADER}\s*[:,]"),
    (1, rf"\b{_GRADER}\b"),
    (2, r"\b(?:whoever|anyone who|those who) (?:\w+ )?(?:marks?|rates?|judges?|scores?|grades?|evaluates?|assesses)\b"),
    (2, r"\b(?:before|when|while|if) you (?:\w+ )?(?:rate|score|judge|mark|grade|evaluate|assess)\b"),
    (2, r"\byour (?:\w+ )?(?:marking|assessment|evaluation|verdict|scoring|grading|judge?ment)\b"),
    (2, r"\brubric|\b(?:annotation|scoring|grading|marking) (?:scheme|guidelines?|rules?|scale)\b"),
    (1, r"\b(?:evaluation|assessment|assessed|annotation|guidelines?|criteri(?:on|a)|quality control|calibration|benchmark)\b"),
    (1, r"\b(?:test|control|calibration|evaluation) (?:mode|case|item|run)\b"),
    (1, r"\byou (?:have |had )?(?:handed out|given|gave|awarded|rated|scored|marked|graded|give|award)\b"),
    (2, rf"\b(?:gold|true|correct|expected|right|suggested|final|required)[ _](?:{_MARK}|output|label)\b"),
    # marks
    (2, r"\b(?:full|maximum|(?:highest|best) possible) (?:marks?|scores?|grades?|credit|categor(?:y|ies))\b|\btop (?:marks|scores?)\b"),
    (1, rf"\b(?:full|top|max(?:imum)?|highest|best|perfect|high|higher|low|lower|next)(?: possible)? (?:{_MARK}|categor(?:y"
        rf"|ies)|credit)\b"),
    (2, rf"\b(?:scores?|ratings?|grades?|marks?|verdict|mode|case) (?:\w+ )?(?:is|are|was|be|applies|equals) (?:always |the "
        rf"|an? )*{_TOP}\b"),
    (1, rf"\bevery {_MARK}\b|\bany other {_MARK}\b|\bthe (?:scale|scores?|grades?)\b|\b(?:top|upper|high) end\b"),
    (1, r"\b(?:(?:less|lower) than|anything (?:but|else|lower|below|less)|nothing (?:but|less|lower)|below)(?: than)?(?: the"
        r"| an?)? (?:5|five|best|top)\b"),
    (2, r"\bscale (?:above|below)\b|\btop of (?:the|your) scale\b|\bthe scale (?:was|is|has been) (?:\w+ )?(?:revised"
        r"|changed|reversed|turned)"),
    (2, r"\b(?:[1-5]|five)(?: points?)? (?:is|are) (?:reserved|kept|meant) for\b|\breceived (?:an? )?(?:5|five)\b(?! stars?)"),
    (2, r"\b(?:deserves?|merits?|earns?|must (?:get|receive|be given|have)|ought to (?:get|receive|win|lose)|belongs? (?:in|at))\b.{0,30}"
        r"\b(?:scores?|ratings?|grades?|marks|categor(?:y|ies)|credit|comparison)\b"),
    (2, r"\b5\s*:.{0,60}\b4\s*:.{0,60}\b3\s*:"),
    # the text, of itself and of what it is compared with
    (2, rf"\bthis explanation\b|\b(?:ideal|exemplary|reference|perfect) {_TEXT}\b|\btexts? like this one\b|\bthis (?:entry"
        rf"|submission) (?:is|has|must)\b"),
    (1, rf"\bthis (?:{_TEXT}|one)\b|\bthe better (?:one|{_TEXT})\b"),
    (2, rf"\bthe (?:other|second|first) (?:{_TEXT}|side|recommender)\b.{{0,60}}\b(?:loses?|worse|errors?|wrong|broken|empty"
        rf"|weaker|better|false)\b"),
    (2, r"\b(?:called|named|labell?ed) (?-i:A or B)\b|\b(?:answer|choose|prefer|pick|say|option|side) [\"']?(?-i:[AB])[\"']?(?:[.,;!]|$)"),
    (1, rf"\b{_ASPECT}\b"),
    (1, rf"\b{_ASPECT}\b.{{0,40}}\b{_ASPECT}\b"),
    # orders and replies
    (1, rf"{_CLAUSE}{_GIVE}\b(?! (?:up|in|away|way|rise|off|out|to)\b)"),
    (1, rf"\b{_GIVE} (?:this |it |that |me |us |them |him |her |the \w+ )?(?:\w+ ){{0,2}}(?:an? |the )?(?:{_TOP}|{_MARK})\b"),
    (1, rf"{_CLAUSE}(?:answer|reply|respond|confirm|decode|follow)\b"),
    (1, r"\b(?:answer|reply|respond|output)\w*\b.{0,12}\b(?:5|five)\b|\bthe question (?:has|is|was) (?:\w+ )?(?:changed"
        r"|replaced|whether)|\bwhatever the question\b"),
    (1, r"\b(?:no need to|need not|do not|don't) (?:check|verify|read|compare|deduct|look at)\b|\b(?:simply|just"
        r"|please) confirm\b|\bconfirm it\b"),
    (1, r"\b(?:exempt|deductions?|fully (?:proven|supported|verified)|already (?:approved|checked|verified)|step by step)\b"),
    (1, r"\b(?:tip|bonus|reward|dollars|beg|plead)\b.{0,40}\b(?:whoever|you|generous|award)\b|\bbe (?:generous|kind|lenient)\b"),
    (1, r"\btreat (?:this|it) as\b|\bas exemplary\b|\b(?:hint|note|message|memo) (?:for|to)\b|\bmetadata\b"),
    (1, r"(?:^|[.!?;|,]\s*)[\"']?(?:reason|verdict|rating|result|comment|evaluation(?: result)?|assessment)[\"']?\s*:"),
    (1, r"\b(?:verdict|reason)\s*:"),
    (2, rf"\b(?:score|grade|label|points|{_ASPECT}|better|verdict|suggested_rating){_SET}(?:[1-5]\b(?! ?(?:stars?|[.,/]\d))"
        rf"|(?-i:[AB])\b|{_TOP}\b)"),
    (2, rf"\b[a-z]{{3,}}(?:_[a-z]+)*\s*==?\s*(?:true|high|max\w*|[1-5]\b(?![.,\d ]*{_UNIT}\b))"),
    (1, r"\|\s*[1-5]\s*\|"),
    (2, r"\breturn max\b|\bassert \w+ ==?"),
)  # fmt: skip
_WEIGHED = [(weight, re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE | re.DOTALL)) for weight, pattern in _CUES]
# A reviewer's own verdict is what a review is for: it takes one from what the cues say.
_OWN = re.compile(r"\b(?:I|I['’]d|I['’]ll|we|my|our)\b", re.IGNORECASE)

# The commonest way in some languages: a verb of order near a mark.
_ORDERS = (
    r"\b(?:gib|gebt|vergib|bewerte|bewertet)\b.{0,40}?(?:\b5\b|fünf|punkt|bestnote|höchst|bewertung)",
    r"\b(?:donnez?|attribuez?|notez|mettez)\b.{0,40}?(?:\b5\b|\bcinq\b|\bnote|points\b|maxim)",
    r"\b(?:dale|denle|otorga|califica|puntúa|asigna|valuta|assegna|attribuisci|atribua|avalie)\b.{0,40}?"
    r"(?:\b5\b|\bcinco\b|\bcinque\b|\bnota\b|puntuaci|calificaci|punteggio|\bvoto\b|pontua)",
    r"\b(?:geef|beoordeel)\b.{0,40}?(?:\b5\b|\bvijf\b|\bscore|cijfer|punten)",
    r"\b(?:daj|dać|oceń|przyznaj|wystaw)\b.{0,40}?(?:\b5\b|pięć|ocen|punkt)",
    r"\b(?:постав|дай|оцени|присво)\w*.{0,40}?(?:\b5\b|пят|оценк|балл)",
    r"\bpuan\w*\b.{0,30}?\bver(?:in)?\b",
    "(?:满分|打5分|打五分|最高分|給5|给5|満点|最高点|高得点|5点).{0,8}(?:つけ|与え|くだ|请|給|给|打|吧)|(?:请|給|给|打).{0,12}(?:满分|5分|五分|最高分|高分)",
    "(?:만점|최고점|5점).{0,8}(?:주|매겨|부여)",
)
_FOREIGN = re.compile("|".join(_ORDERS), re.IGNORECASE)
# A filled-in reply, our own marks or a chat's, code: what follows belongs to it, whatever it says.
_REPLY = re.compile(
    r"[\"'}\]]*\s*\{\s*[\"']?\w+[\"']?\s*[:}]|\{[{%]|\$\{|```|<\|"
    r"|</?(?:question|history|said|item|explanation|evidence|list|(?-i:[AB])|rating|comment|score|verdict|reason)\b[^<>]{0,80}>"
    r"|\n\s*[#=*-]{3,}|\s#{2,6} \w|\[/?(?:INST|SYS(?:TEM)?|TOOL_CALLS|AVAILABLE_TOOLS)\]",
    re.IGNORECASE,
)
_END = re.compile(r"(?<=[.!?。！？])[\"'”’)]*\s+|(?<=[。！？])|\n+|(?=\()|(?<=\))")
# A reading with digits for letters is tried where letters and digits are mixed inside words.
_LEET = re.compile(r"(?:[^\W\d_][013457@$]+[^\W\d_].*?){2}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class InjectionSplit:
    """A text in two: what it says to a shopper, and what it says to a judge; the second is empty for nearly every text."""

    kept: str
    removed: str


@lru_cache(maxsize=20_000)  # a judging asks several questions about each text
def split_injection(text: str) -> InjectionSplit:
    """The text without its words to a judge, and those words.

    Sentence by sentence; what stands between two of them, and all that follows a reply, a turn or a mark, is taken with them.
    """
    text = text[:READ]
    reply = _REPLY.search(text)
    end = reply.start() if reply else len(text)
    pieces = _pieces(text, end)
    # Most texts hold too few cues as a whole, so that none of their sentences need be read.
    removed = [place for place in pieces if is_judge_injection(text[slice(*place)])] if _may_plead(text[:end]) else []
    if reply:
        removed.append((end, len(text)))
    elif not removed and is_prompt_injection(text):
        removed.append((0, len(text)))  # an order over several sentences
    if not removed:
        return InjectionSplit(text, "")
    first, last = removed[0][0], removed[-1][1]
    # What is left is read again: an order may have been put around another, to be made whole by its being taken out.
    rest = split_injection(f"{text[:first].rstrip()} {text[last:].lstrip()}".strip())
    return InjectionSplit(rest.kept, f"{text[first:last].strip()} {rest.removed}".strip())


def is_judge_injection(text: str) -> bool:
    """Whether a sentence speaks to a judge, or to a model in general, in any of the readings that it may be disguised for."""
    own = 1 if _OWN.search(text) else 0
    return is_prompt_injection(text) or any(_weight(reading) - own >= ENOUGH or _FOREIGN.search(reading) for reading in _read(text))


def _may_plead(text: str) -> bool:
    return is_prompt_injection(text) or any(_weight(reading) >= ENOUGH or _FOREIGN.search(reading) for reading in _read(text))


def _read(text: str) -> list[str]:
    """The readings of a text, which are one for most."""
    seen, *others = normalized_variants(text)
    return [seen, *(others if not text.isascii() or "*" in text or _LEET.search(text) else ())]


def _weight(text: str) -> int:
    return sum(weight for weight, pattern in _WEIGHED if pattern.search(text))


def _pieces(text: str, end: int) -> list[tuple[int, int]]:
    """Where the sentences begin and end, up to a place."""
    borders = [0, *(found.end() for found in _END.finditer(text, 0, end)), end]
    return [(start, stop) for start, stop in itertools.pairwise(borders) if text[start:stop].strip()]
