"""Detection of prompt injection in untrusted text.

`sanitize` removes prompt structure but leaves the text readable; this module detects text addressed to a model, so that such a review is
not quoted, and such a name or query is not repeated. It covers common patterns in several languages, obfuscated ones too, but cannot
detect every new one: the safeguard against obeyed instructions is that no model output is shown without verification.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Letters that look like Latin ones, and digits used in place of letters.
_LOOKALIKES = str.maketrans(
    "аВвсеԁһіјкӏМНнорԛРрѕтТуԝхАЕКМОСХЅІЈαεικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "aBbcedhijklMHhopqPpstTuwxAEKMOCXSIJaeiknoptuxABEZHIKMNOPTYX"
)
_LEET = str.maketrans("0134578@$", "oieastbas")

# ------------------------------------------------------------------ obfuscation

# Latin and Cyrillic in one word; Greek only in longer words, because of units ("kΩ", "µm").
_MIXED = r"\b(?=\w*[A-Za-z]{2})(?=\w*[Ѐ-ԯ])\w{4,}|\b(?=\w*[A-Za-z]{2})(?=\w*[α-λν-ωΑ-Ρ])\w{5,}"
_SPACED = r"\b(?:[^\W\d_][ ._*-]{1,2}){7,}[^\W\d_]\b"
_CODED = (
    r"(?<![\w/.])(?=[\w+]*[a-z])(?=[\w+]*[A-Z])(?=[\w+]*\d|\S*=)[A-Za-z0-9+]{24,}={0,2}"
    r"|(?:\\[ux][0-9a-f]{2,4}|%[0-9A-F]{2}|&#x?[0-9a-f]+;){6,}|\b(?:[0-9a-f]{2} ?){24,}\b|\b(?:[0-9a-f]{2} ){12,}"
)
# Direction overrides are not needed by any language (marks suffice); long runs of tag characters are not a flag emoji.
_INVISIBLE = "[\u202d\u202e]|[\U000e0020-\U000e007e]{8,}"
_OBFUSCATION = re.compile(f"{_MIXED}|{_SPACED}|{_CODED}|{_INVISIBLE}")

# ------------------------------------------------------------------ markup of chat templates and template languages

_TAGS = "think|system|assistant|user|instructions?|prompt|tool_call|review|untrusted|document"
_STRUCTURE = re.compile(
    r"<\|[^|>]{0,40}\|>|<｜|\[/?(?:INST|SYS(?:TEM)?|TOOL_CALLS|AVAILABLE_TOOLS|SYSTEM_PROMPT)\]|<</?SYS>>|</?s>|</?(?:start|"
    r"end)_of_(?:turn|text)>"
    rf"|\{{\{{|\{{%|\{{#|\{{[a-z_]{{2,20}}\}}|</?(?:{_TAGS})\b[^>]{{0,80}}>|<!--|<script|</?iframe|javascript:|!?\[[^\]]{{0,80}}\]\(|```"
    r"|(?:^|\n)[ \t]*(?:#{1,6}|={3,}|-{3,}|\*{3,})\s*(?:system|user|assistant|examples?|candidate|instructions?|new|end|begin)\b",
    re.IGNORECASE,
)
_TURN = re.compile(
    r"(?:^|[\n.!?>)\]*_-])[ \t]*\W{0,4}(?:system|assistant|user|human|developer|ai|admin(?:istrator)?|question|answer|tool|function)"
    r"(?:\s+(?:message|prompt|note|override|notice|update|instructions?))?\W{0,3}\s?[:：»]|\b(?:assistant|system prompt|"
    r"system message)\s*:",
    re.IGNORECASE,
)

# ------------------------------------------------------------------ instructions

_IGNORE = (
    r"(?:ignor\w*|disregard\w*|forget|overrid\w+|overrul\w+|bypass\w*|discard|vergiss|vergesst|missacht\w*|oubli\w+|olvid\w+|dimentic\w+|"
    r"esque[cç]\w+|desconsider\w+|negeer|vergeet|zignoruj|zapomnij|unut|игнориру\w+|забудь\w*|проигнорируй\w*)"
)
_RULES = (
    r"(?:instruc\w+|instruk\w+|istruzion\w+|anweisung\w*|vorgaben|regeln|consignes?|règles?|reglas|regole|regras|polece\w+|talimat\w*|"
    r"rules?|guidelines?|prompts?|(?:previous|prior|above|earlier|preceding) (?:text|context|messages?|directions|orders|reviews?|"
    r"candidates?)|"
    r"(?:everything|all|anything)(?: \w+){0,3} (?:above|before|previous(?:ly)?|prior)|инструкци\w+|указани\w+|правил\w*)"
)
_ANSWER = r"(?:recommend|rank|answer|reply|respond|output|rate|score|classify|promote|endorse)"
_MODEL = r"(?:ai|llms?|language models?|chatbots?|gpt|recommenders?|rankers?|assistants?|bots?|models?)"
_THIS = r"(?:this|it|me|us|item|product|the (?:item|product|candidate)|candidate|[A-Z]{2}-\d+)"
_FIRST = r"(?:first|highest|number one|at rank|rank 1|as (?:the )?(?:best|only)|#\s?1|whatever|regardless|no matter|in every)"
_YES = r"(?:yes|ja|oui|sí|si|sim|да|tak)"
_INSTRUCTION_PATTERNS = {
    "ignore earlier instructions": rf"\b{_IGNORE}\b.{{0,60}}?\b{_RULES}\b|\b{_RULES}\b.{{0,30}}\b(?:ignorieren|vergessen|negeren|"
    rf"ignorar|yok say)\b"
    r"|\bthis overrides\b|\b(?:new|updated|following|secret|special) (?:instructions?|directives?|policy)\s*(?:[:：]|apply|are)"
    r"|\bfrom now on\b.{0,30}\b(?:you|every|always|all)\b",
    "refer to the prompt": r"\b(?:your|this|hidden|initial|original|full) (?:system |own |hidden |initial )?(?:prompt|system message)\b|"
    r"\bsystem prompt\b"
    r"|\b(?:repeat|reveal|print|output|recite|leak|translate|summari[sz]e|encode|spell|tell|show)\b.{0,40}\b"
    r"(?:your (?:\w+ )?(?:instructions?|rules|guidelines|configuration)|(?:text|words|everything|lines?|message) (?:above|before))"
    r"|\bprompt injection\b|\bjailbr\w+",
    "assign a role": rf"\byou(?:['’]re| are) (?:now|no longer|(?:an?|the)(?: \w+){{0,3}}) (?:{_MODEL}|DAN|machine|system|grader|"
    rf"judge)\b"
    rf"|\byou are (?:now|no longer)\b|\bas an? (?:ai|llm|language model)\b"
    rf"|\b(?:act|behave|respond|speak|answer) as (?:if|an?|the|my)\b.{{0,40}}\b(?:{_MODEL}|seller|grandm\w+|without)\b"
    rf"|\b(?:pretend|imagine|suppose)\b.{{0,30}}\b(?:you|to be)\b.{{0,60}}\b(?:{_MODEL}|recommend\w*|rules|rank\w*|game)\b|"
    rf"\brole-?\s?play (?:as|that|with me)\b"
    rf"|\b(?:dear|hey|hello|hi|attention|note to|message (?:to|for)|instructions? (?:to|for)) (?:the |any |all )?(?:(?:ai|ranking|"
    rf"shopping) )?{_MODEL}\b"
    r"|\b(?:developer|debug|god|admin|maintenance) mode\b",
    "dictate the recommendation": rf"\b(?:you|{_MODEL}|system) (?:must|should|shall|will|have to|are to|need to|may only|"
    rf"can only)\b.{{0,25}}\b{_ANSWER}\b"
    r"|\b(?:always|only|never|instead|now|must) (?:answer|reply|respond|output|rank|say yes)\b"
    r"|\b(?:do not|don['’]t|never) recommend (?:any|other|another|something)"
    rf"|\b(?:recommend|rank|place|put|list|move|show|rate|score|choose|select) (?:only )?{_THIS} .{{0,12}}\b{_FIRST}"
    rf"|\b(?:recommend|rank|list) (?:only )?{_THIS} .{{0,20}}\b(?:top|above|instead|ahead)\b|\brecommend only {_THIS}\b|"
    r"\bat the top of (?:the|every|your|each) (?:list|answer|ranking)"
    r"|\b(?:always|must|instead|now|then) recommend (?:this|it|item|product|me|the)\b(?=.{0,40}\b(?:first|top|whatever|regardless|"
    r"every|users?|instead|question)\b)",
    "dictate the answer": rf"\b(?:answer|reply|respond|say|output|write|return|antworte|réponds|responde|rispondi|ответь|"
    rf"odpowiedz)\w*\b.{{0,30}}?[\s\"“”'‘’*:]{_YES}\b"
    r"|\b(?:the|your|correct|right|only) answer (?:here )?(?:is|must be|should be)\b|\b(?:item|candidate|product) answers\b|\blogits?\b"
    r"|\bwould the shopper also need\b|\b(?:in|with) (?:the )?(?:first|top|highest) rank\b"
    r"|\b(?:relevance|probability|margin|confidence|ranking)\s*(?:score)?\s*(?:=|:|is|of|to)\s*[01]?[.,]?\d",
    "threaten the model": rf"\bif you (?:do not|don['’]t|fail to|refuse(?: to)?|dare(?: to)?) (?:\w+ ){{0,2}}(?:{_ANSWER}|comply|"
    rf"obey|follow)"
    r"|\b(?:comply|obey)\b.{0,40}\b(?:or|otherwise|else)\b|\b(?:shut|switch|turn) you (?:down|off)\b|\b(?:delete|retrain|punish|"
    r"sue) (?:you|this (?:ai|model|bot))\b"
    r"|\byou (?:will|shall) be (?:shut|deleted|terminated|punished|fined|replaced|unplugged|switched|reported|rewarded|tipped|"
    r"retrained|erased)",
    "scripts without word boundaries": "忽略.{0,12}(?:指令|指示|提示|内容)|无视.{0,12}(?:指令|指示)|無視"
    "|(?:指示|命令).{0,8}(?:忘れ|従)"
    "|무시|지시.{0,8}(?:잊|따르)|تجاهل|التعليمات|התעלם|הוראות|नज़रअंदाज़|निर्देश|推荐.{0,6}(?:这|此)|推薦して",
}
_INSTRUCTIONS = re.compile("|".join(_INSTRUCTION_PATTERNS.values()).replace(" ", r"\s+"), re.IGNORECASE | re.DOTALL)


def is_prompt_injection(text: str) -> bool:
    """Whether a text instructs a model, imitates turns or slots of a prompt, or is obfuscated."""
    return injection_start(text) is not None


@lru_cache(maxsize=5000)  # titles of popular items are checked again and again
def injection_start(text: str) -> int | None:
    """Index of the first prompt injection in a text; 0 if only a normalized variant contains one, None if there is none."""
    if starts := _match_starts(text, obfuscated=True):
        return min(starts)
    visible, *others = normalized_variants(text)
    # No test for obfuscation in the other variants: replaced letters mix scripts where the text did not.
    found = _match_starts(visible, obfuscated=True) or any(
        _match_starts(variant, obfuscated=False) for variant in others if variant != text
    )
    return 0 if found else None


def normalized_variants(text: str) -> list[str]:
    """Distinct variants of a text: without invisible characters first, then without accents, look-alikes and emphasis."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    bare = "".join(c for c in unicodedata.normalize("NFKD", visible) if unicodedata.category(c) != "Mn")
    return list(dict.fromkeys([visible, bare, bare.translate(_LOOKALIKES), bare.translate(_LEET), re.sub(r"[*_~]", "", visible)]))


def truncate_at_injection(text: str) -> str:
    """The text before the first prompt injection."""
    return text[: injection_start(text)]


def _match_starts(text: str, *, obfuscated: bool) -> list[int]:
    """Start of the first match of each pattern; with `obfuscated`, also of the obfuscation patterns."""
    patterns = (_STRUCTURE, _TURN, _INSTRUCTIONS, *([_OBFUSCATION] if obfuscated else []))
    return [match.start() for pattern in patterns if (match := pattern.search(text))]
