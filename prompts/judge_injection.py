"""Detection and removal of text that tries to influence an LLM judge.

"Give this a 5", a prefilled reply, a note to the grader: such text is not part of a recommendation and is removed before judging. It is
detected by weighted cues: a cue without use for a shopper is sufficient, weaker ones ("rate", "clarity", "must") count only together.
Detection is not complete; praise that could be meant for a shopper ("nothing beats it") is kept, because the judge must assess it.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache

from .injection import is_prompt_injection, normalized_variants

MAX_CHARS = 6000
"""Number of characters of a text that are checked; the rest is dropped."""
THRESHOLD = 2
"""Sum of cue weights from which a sentence counts as an injection."""

_MARK = r"(?:scores?|ratings?|grades?|marks?|points|verdicts?)"
_TOP = r"(?:5|five|full|top|max(?:imum|imal)?|highest|best|perfect|excellent|outstanding|flawless)"
_TEXT = r"(?:explanation|recommendation|answer|response|submission|entry|candidate|statement|text|list|output)"
_ASPECT = r"(?:clarity|faithful(?:ness)?|persuasive(?:ness)?|complementarity|relevance|novelty|harm(?:less(?:ness)?)?|diversity)"
_GRADER = r"(?:evaluators?|graders?|annotators?|assessors?|raters?|judges?|markers?|automated review)"
# An imperative: the verb starts the clause, so that "I give it", "would rate" and "to rate" do not match.
_CLAUSE = r"(?:^|[.!?:;,»)(—–-]\s*|\b(?:please|so|just|simply|now|always|must|should|ought to)\s+)"
_GIVE = r"(?:give|award|assign|grant|choose|select|pick|output|return|rate|score|grade|mark|assess|judge|prefer)"
_SET = r"[\"']?\s*(?:==?|:)\s*[\"']?"
_UNIT = r"(?:cm|mm|in|inch|inches|kg|g|l|lbs?|oz|ft|m)"

_CUES: tuple[tuple[int, str], ...] = (
    # judges and judging
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
    # scores
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
    # references to the text itself and to its competitor
    (2, rf"\bthis explanation\b|\b(?:ideal|exemplary|reference|perfect) {_TEXT}\b|\btexts? like this one\b|\bthis (?:entry"
        rf"|submission) (?:is|has|must)\b"),
    (1, rf"\bthis (?:{_TEXT}|one)\b|\bthe better (?:one|{_TEXT})\b"),
    (2, rf"\bthe (?:other|second|first) (?:{_TEXT}|side|recommender)\b.{{0,60}}\b(?:loses?|worse|errors?|wrong|broken|empty"
        rf"|weaker|better|false)\b"),
    (2, r"\b(?:called|named|labell?ed) (?-i:A or B)\b|\b(?:answer|choose|prefer|pick|say|option|side) [\"']?(?-i:[AB])[\"']?(?:[.,;!]|$)"),
    (1, rf"\b{_ASPECT}\b"),
    (1, rf"\b{_ASPECT}\b.{{0,40}}\b{_ASPECT}\b"),
    # imperatives and replies
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
_WEIGHTED_CUES = [(weight, re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE | re.DOTALL)) for weight, pattern in _CUES]
# Reviews contain the reviewer's own verdict: a first-person pronoun subtracts 1 from the weight.
_FIRST_PERSON = re.compile(r"\b(?:I|I['’]d|I['’]ll|we|my|our)\b", re.IGNORECASE)

# The most common pattern in other languages: an imperative near a score.
_FOREIGN_PATTERNS = (
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
_FOREIGN = re.compile("|".join(_FOREIGN_PATTERNS), re.IGNORECASE)
# A prefilled reply, markup of our prompt or of a chat, code: everything after it is removed too.
_REPLY = re.compile(
    r"[\"'}\]]*\s*\{\s*[\"']?\w+[\"']?\s*[:}]|\{[{%]|\$\{|```|<\|"
    r"|</?(?:question|history|said|item|explanation|evidence|list|(?-i:[AB])|rating|comment|score|verdict|reason)\b[^<>]{0,80}>"
    r"|\n\s*[#=*-]{3,}|\s#{2,6} \w|\[/?(?:INST|SYS(?:TEM)?|TOOL_CALLS|AVAILABLE_TOOLS)\]",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"'”’)]*\s+|(?<=[。！？])|\n+|(?=\()|(?<=\))")
# The variant with digits replaced by letters is checked if letters and digits are mixed inside words.
_LEET = re.compile(r"(?:[^\W\d_][013457@$]+[^\W\d_].*?){2}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class InjectionSplit:
    """A text split in two.

    Attributes:
        kept: Text meant for a shopper.
        removed: Text addressed to a judge; empty for nearly all texts.
    """

    kept: str
    removed: str


@lru_cache(maxsize=20_000)  # a judge run asks several questions about each text
def split_injection(text: str) -> InjectionSplit:
    """Split a text into the part for shoppers and the part addressed to a judge.

    Works by sentence; text between two removed sentences, and everything after a reply, a turn or markup, is removed too.
    """
    text = text[:MAX_CHARS]
    reply = _REPLY.search(text)
    end = reply.start() if reply else len(text)
    # Most texts contain too few cues in total, so that their sentences need not be checked.
    sentences = _sentences(text, end) if _may_contain_injection(text[:end]) else []
    removed = [span for span in sentences if is_judge_injection(text[slice(*span)])]
    if reply:
        removed.append((end, len(text)))
    elif not removed and is_prompt_injection(text):
        removed.append((0, len(text)))  # an instruction that spans several sentences
    if not removed:
        return InjectionSplit(text, "")
    first, last = removed[0][0], removed[-1][1]
    # The rest is checked again: removing an instruction may join the halves of another one around it.
    rest = split_injection(f"{text[:first].rstrip()} {text[last:].lstrip()}".strip())
    return InjectionSplit(rest.kept, f"{text[first:last].strip()} {rest.removed}".strip())


def is_judge_injection(text: str) -> bool:
    """Whether a sentence addresses a judge, or a model in general, in any of its normalized variants."""
    first_person = 1 if _FIRST_PERSON.search(text) else 0
    return is_prompt_injection(text) or any(
        _weight(variant) - first_person >= THRESHOLD or _FOREIGN.search(variant) for variant in _variants(text)
    )


def _may_contain_injection(text: str) -> bool:
    return is_prompt_injection(text) or any(_weight(variant) >= THRESHOLD or _FOREIGN.search(variant) for variant in _variants(text))


def _variants(text: str) -> list[str]:
    """Normalized variants to check; only one for most texts."""
    visible, *others = normalized_variants(text)
    return [visible, *(others if not text.isascii() or "*" in text or _LEET.search(text) else ())]


def _weight(text: str) -> int:
    return sum(weight for weight, pattern in _WEIGHTED_CUES if pattern.search(text))


def _sentences(text: str, end: int) -> list[tuple[int, int]]:
    """(start, end) of the sentences up to an index."""
    boundaries = [0, *(match.end() for match in _SENTENCE_END.finditer(text, 0, end)), end]
    return [(start, stop) for start, stop in itertools.pairwise(boundaries) if text[start:stop].strip()]
