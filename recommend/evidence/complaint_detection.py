"""Detects complaints in review sentences with two classifiers: one with high recall, one with high precision.

A sentence shown as praise must not even resemble a complaint; a sentence shown as a complaint must be one. "No more wet socks" is neither:
it contains words of a complaint and is praise. The rating does not help, because it is for the whole review.
"""

from __future__ import annotations

import re

_POSSIBLE_COMPLAINT = re.compile(
    r"\b(?:not|no|never|nothing|hardly|barely|but|however|although|though|unfortunately|only|except|wish|less|worse|worst|poor|bad|cheap|"
    r"broke|breaks?|broken|fades?|faded|leaks?|leaked|returned|refund|disappoint\w*|problems?|issues?|fails?|failed|wrong|missing|"
    r"too \w+|(?:expected|hoped for|wanted) (?:more|longer|better)|(?:could|should|might) (?:be|have)|"
    r"(?:takes?|took|needs?|needed) (?:\w+ ){0,2}?(?:most of|all|half|hours|days|weeks|ages|a while|long|longer|forever|getting used)"
    r"|(?:so|very|quite|rather|a bit|a little|pretty|somewhat) (?:heavy|loud|slow|stiff|big|small|tight|thin|thick)|a (?:bit|little) \w+"
    r"|slow(?:er)?|heavier|ages|nois(?:e|y|ier)|stinks?|stiff|difficult|awkward\w*|annoy\w*|sadly|shame|pity|bulky|fiddly|expensive|pricey"
    r"|overpriced|struggl\w*|wobbl\w*|rattl\w*|squeak\w*|flimsy|hard(?:er)? to)\b|n['’]t\b",
    re.IGNORECASE,
)


def _alternatives(words: str) -> str:
    """Return a regex group of alternatives, which may be written over several lines."""
    return "(?:" + re.sub(r"\n *", "", words) + ")"


_PART = _alternatives(
    """it|they|this|one|strap|lid|seam|handle|zip|zipper|hinge|hose|battery|screen|wheel|cable|button|motor|pump|hood|loops?|slats?|
    pegs?|rib|
    bell|coating|fabric|plastic|light|lamp|sensor|armrests?|arms?|knob|crank|tray|mount|corners?|edges?|shell|bracket|threads?|stitching"""
)
_FAILURE = _alternatives(
    r"""snapped|cracked|split|tore|ripped|peeled|leaks|leaked|rattles?|squeaks?|wobbles?|sags?|slips?|slides? (?:off|down|around)|
    scratche[sd]|rusted|rusts|shrank|sheds|falls? (?:off|out|apart)|fell (?:off|out|apart)|(?:came|comes?) (?:loose|apart|off(?! \w))|
    gave (?:way|up)|
    broke|breaks(?! in)|bent|burst|died|failed|fails|overheats|faded|fades|stinks|chipped|pops? out|stopped (?:working|charging)"""
)
_STATE = _alternatives(
    """broken|cracked|damaged|defective|bent|dented|torn|ripped|useless|uncomfortable|flimsy|fiddly|annoying|disappointing|horrible|
    terrible|
    awful|unusable|worthless|unreliable|misleading|blurry|grainy|patchy|wobbly|scratchy"""
)
_SIZE = _alternatives(
    """it|they|this|these|strap|lid|handle|cord|cable|slot|size|screen|seat|holder|bag|pockets?|buttons?|gloves?|fit|font|volume|material|
    fabric"""
)
_MEASURE = _alternatives(
    """small|big|large|short|long|heavy|loud|hard|soft|thin|thick|tight|loose|narrow|wide|weak|stiff|hot|bright|dim|slow|expensive|flimsy|
    quiet|bulky"""
)
_BETTER = _alternatives("sturdier|stronger|longer|better|wider|louder|brighter|softer|thicker|lighter|bigger|larger|clearer")
_BE, _NOT = "(?:is|was|are|were)", "(?: not|n['’]t)"
_STATEMENTS = {
    "a part gives way": rf"{_PART} (?:(?:soon|then|already|also|both|all|just|always|quickly|easily|immediately|constantly) )?{_FAILURE}"
    r"|broke(?: (?:down|off|apart|within|after|in|on the)\b|(?=[.!,;]|$))|fell apart|falling apart|wore (?:thin|out)"
    r"|stopped (?:working|charging|spinning|holding|heating)|(?:lasted|held|worked) only \w+|only (?:lasted|worked|held)"
    r"|(?:one|two|half|some|several|many|three|a dozen|\d+) (?:of (?:the|three|these) ?)?(?:\w+ )?"
    r"(?:broke|popped|ripped|tore|pop out|fell off|cracked|snapped|burst|were broken|were missing)\b",
    "a state": rf"(?:{_BE}|got|arrived|came) (?:(?:already|completely|badly) )?{_STATE}"
    r"|(?:wall plugs|screws|instructions|manual|plastic tray|strap)(?: supplied)? (?:are|is|were|was) "
    r"(?:useless|missing|wrong|awful|terrible)",
    "a measure": rf"{_SIZE} (?:{_BE}|runs?|ran|feels?|felt) (?:(?:much|far|way|just|really|a bit|a little|slightly) )?too {_MEASURE}"
    rf"|(?:much|far|way) too {_MEASURE}|too (?:small|short|narrow|wide|thick|tight|weak|loose) (?:for|to)\b",
    "a wish": rf"wish (?:it|they|the \w+) (?:was|were)|could use (?:more|some|a|padding)"
    rf"|(?:could|should) (?:be|have been) (?:a (?:bit|little|touch) )?{_BETTER}",
    "an effort": r"(?:hard|difficult|impossible|awkward|a pain) to "
    r"(?:clean|open|close|use|assemble|read|fold|reach|adjust|hold|remove|install|store)(?! (?:places|spots|areas))",
    "a trace": r"leaves? (?:marks|scratches|stains|residue)|left (?:\w+ )?(?:marks|stripes|scratches|stains|residue)"
    r"|(?:faint|strong|awful|bad|terrible|chemical|plastic|silicone|rubber) (?:taste|smell|odou?r)"
    r"|smell(?:s|ed) (?:awful|terrible|bad|of (?:rubber|plastic|chemicals))",
    "a verdict": r"waste of (?:money|time)|poorly (?:made|built|designed|stitched)|cheaply made"
    r"|poor (?:quality|fit|sound|design|grip|battery)"
    r"|(?:feels?|looks?|looked|felt) (?:(?:very|really|so|a bit|rather) )?(?:cheap|flimsy|fragile|thin)|disappointed (?:with|by|in)"
    r"|disappointed(?=[.!])|annoyed me|sent (?:it|them|this) back|returned (?:it|them)|wanted (?:a|my) refund"
    r"|(?:had to|have to|will be|am) return(?:ing)?(?: it| them| this)?\b",
}
_ABILITY = _alternatives(
    r"""fit|work|hold|stay|close|last|charge|turn on|reach|seal|open|connect|pair|start|stand|clean|cut|grip|match|recogni[sz]e|heat|fill|
    inflate|worth (?:it|the)|sturdy|comfortable|durable|waterproof|as (?:described|advertised|pictured|expected)|accurate|good|great|stable|
    sharp|usable|impressed|happy|satisfied|compatible|included|(?:long|big|strong|loud|bright|wide|thick) enough"""
)
_NEGATED = (
    rf"(?<!\bI )(?<!\bwe )(?<!\byou )(?:does|do|did|{_BE}|will|would|could|can|has|have){_NOT}"
    rf"(?: (?:even|really|always|seem to|quite|actually|properly))? {_ABILITY}\b"
    rf"|cannot (?:recommend|feel|fit|open|close|use|connect|charge|read)|would{_NOT} (?:recommend|buy)"
    r"|never (?:worked|fit|fits|stays|stayed|holds|held|blew|closed|arrived)\b"
    r"|(?:barely|hardly) (?:works?|fits?|holds?|lasts?|takes?|cleans?|charges?)"
)
_COMPLAINT = re.compile(rf"\b(?:{'|'.join(_STATEMENTS.values())}|{_NEGATED})", re.IGNORECASE)
# With any of these, the sentence is not a clear complaint.
_EXCLUSIONS = {
    "another thing": r"\b(?:old|older|previous|former|earlier|last|first|others?|another|original|cheaper) (?:ones?|pairs?|brands?|models?|"
    r"versions?|bins?|bags?|mattress|pillow|phone|tent|pump|mat|\w+ (?:broke|died|failed|leaked|tore|wore))\b|\b(?:my|our|the|an?) old\b"
    r"|\b(?:my|our) (?:\w+ )?(?:door|hair|skin|porch|car|house|socket)\b|\b(?:which|that|who|i had an? .{0,40}) broke\b"
    r"|\b(?:used to|instead of|rather than|unlike|compared (?:to|with)|better than|stronger|sturdier|replac(?:es?|ed|ing|ement))\b",
    "a purpose": r"\b(?:bought|got|ordered|purchased|chose) (?:this|it|these|them|one|the \w+) (?:to|because|since|after|as|when)\b"
    r"|\b(?:repair\w*|prevents?|protects?|solve[sd]?|fixed|fixes|cure[sd]|free of|without)\b",
    "a denial": r"\b(?:no longer|any ?more|no more|nothing|neither|nor|no (?:problems?|issues?|complaints?)|not (?:be )?disappointed"
    r"|never (?:broke|leaked|failed|slips?|slipped|rattles?|had|once)|not (?:one|a single|once|too|at all)|(?:is|are|was)n['’]t too)\b"
    r"|\b(?:ha(?:s|ve)n['’]t|won['’]t be|can['’]t (?:be|go|beat|complain)|could(?:n['’]t| not) be (?:happier|better|more))\b",
    "a worry or advice": r"\b(?:worried|afraid|feared|thought|expected (?:it|them) to|if|unless|until|before|in case|whenever you"
    r"|don['’]t let|make sure|might|may|some (?:people|reviews?|reviewers)|reviews|others say|complain\w*|torn between)\b|\?",
    "the reviewer's own fault": r"\b(?:accident\w*|my fault|(?:i|we) dropped|dropped it|on purpose)\b"
    r"|\b(?:i|we|you) (?:(?:also|just|still) )?(?:did|do)(?:n['’]t| not)\b",
    "praise": r"\b(?:easily fixed|worth (?:it|every)|loves?|loved|perfect\w*|so good|amazing|excellent|great|best|happy (?:with|that)|glad"
    r"|thank\w*|luckily|fortunately|(?:but|though|yet|still|however)\b.{0,60}\b(?:fine|good|works|worth|happy|trick|nice|ok|okay))\b",
}
_NOT_A_COMPLAINT = re.compile("|".join(_EXCLUSIONS.values()), re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:no|not|never|nothing|none|without|hardly|barely|n['’]t|cannot)\b|n['’]t\b", re.IGNORECASE)


def may_be_complaint(sentence: str) -> bool:
    """Whether a sentence may contain a complaint (high recall); such a sentence is not used as praise."""
    return bool(_POSSIBLE_COMPLAINT.search(sentence) or _COMPLAINT.search(sentence))


def is_complaint(sentence: str) -> bool:
    """Whether a sentence is a clear complaint about the item (high precision)."""
    if _NOT_A_COMPLAINT.search(sentence):
        return False
    # "No strap tore" is negated before the match. Negations that belong to a complaint ("does not fit") are part of the match.
    before = (sentence[: match.start()] for match in _COMPLAINT.finditer(sentence))
    return any(not _NEGATION.search(re.split(r"[,;:]| and | but ", words)[-1]) for words in before)
