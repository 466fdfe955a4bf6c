"""English phrases around the names of a question: its direction, and the words that introduce a name.

    "users who bought phones also need ..."  ->  next, "users who bought phones"; lead-in "users who bought"
    "who would need a tripod?"               ->  reverse, "a tripod"; lead-in "a"

Knows neither operators nor brackets (see `grammar`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Direction = Literal["next", "reverse"]

_WHO = (
    r"(?:people|persons?|users?|customers?|shoppers?|buyers?|owners?|purchasers?|clients?|members?|learners?|students?|viewers?|readers?"
    r"|travell?ers?|guests?|listeners?|subscribers?|attendees|participants|pupils?|patrons?|visitors?|borrowers?"
    r"|households?|families|folks?|those|anyone|anybody|everyone|everybody|somebody|someone)"
)
_ALL = r"(?:(?:all|our|my|the|any)\s+)*"
_PAST = r"(?:bought|purchased|ordered|owned)"
_HAVE = (
    rf"(?:{_PAST}|buys?|buying|purchases?|order|owns?|owning|rated?|reviewed|watch(?:ed)?|saw|seen|read|played|visited|booked|viewed"
    r"|rented|borrowed|heard|attended|completed|streamed"
    r"|looked\s+at|used?|enroll?(?:ed)?\s+(?:in|for|on)|signed\s+up\s+for|(?:have|has|had|having|got|gets?|took|takes?|taken)"
    # After these the verb means something else: "people who have started running", "who took up knitting".
    r"(?!\s+(?:up|into|to|out|over|off|part|care|been|just|started|begun|become|moved|gone|married|not|never)\b))"
)
_AUX = r"(?:(?:have|has|had|did|do|does|already|also|just|recently|ever|once|previously)\s+)*"
_NEVER = r"(?:(?:have|has|had|did|do|does)(?:\s+not|n['’]t)|never|not)"
_LEAD = re.compile(
    rf"""(?: {_ALL} (?:{_WHO}\s+)? (?:who|that) \s+ {_AUX} (?P<no>{_NEVER}\s+)? {_AUX} {_HAVE}
       | {_ALL} {_WHO} \s+ (?:with|of|having|owning|buying)
       | {_ALL} {_WHO} (?=\s+without\b)
       | (?P<never>{_NEVER}) \s+ {_AUX} {_HAVE}
       | (?:(?:have|has|had|also|just)\s+)? (?:{_PAST}|owns?)
       | (?:have|has|having|with) (?!\s+(?:been|just|started|begun|become|moved|gone|not|never)\b)
       | an? | the | any | some
    ) (?=\s|$)""",
    re.IGNORECASE | re.VERBOSE,
)
_OWNERS = re.compile(r"\s+(?:buyers?|owners?|purchasers?|shoppers?|customers?|users?)$", re.IGNORECASE)
_NEED = r"(?:needs?|wants?|buys?|gets?|purchases?|looks?\s+for|requires?)"
_MODAL = r"(?:(?:would|will|might|may|could|should|is|are|do|does)(?:\s+(?:also|most|likely|going|to|still|next|probably|soon))*\s+)"
_LATER = r"(?:\s+(?:next|too|also|now|soon|then|later|most|after(?:wards)?|as\s+well|with\s+(?:it|them)))"
_REVERSE = re.compile(
    rf"""(?: (?:who|which\s+{_WHO}) \s+ (?:else\s+)? {_MODAL}? {_NEED}
           | {_ALL} {_WHO} \s+ (?:who|that) \s+ (?:{_MODAL} {_NEED} | needs? | wants?)
           | (?:to\s+)? whom? \s+ (?:should|could|can|do) \s+ (?:we|i|you) \s+ (?:offer|sell|recommend|show|send|promote|pitch)
        ) \s+ (?!to\s) (?P<rest>.+?) {_LATER}* (?:\s+to)?""",
    re.IGNORECASE | re.VERBOSE,
)
_FORWARD = re.compile(
    rf"""what \s+ (?:else\s+)? (?: (?:do|does|did|will|would|should|might|can|could) \s+ (?P<a>.+?) (?:\s+(?:also|still|usually|often))*
                                   \s+ {_NEED} {_LATER}*
                                 | (?:goes|go) \s+ (?:well\s+)? with \s+ (?P<b>.+)
                                 | (?:(?:comes|to\s+sell)\s+)? (?:next\s+)? (?:after|to) \s+ (?P<c>.+)
                                 | (?:should|can|could) \s+ (?:we|i) \s+ (?:offer|sell|recommend) \s+ (?:to\s+)? (?P<d>.+)
                               )""",
    re.IGNORECASE | re.VERBOSE,
)
# "... also need", "... need next", "... need …"; a bare "need" only where a lead-in makes it a verb.
_TRAILER = re.compile(
    rf"""\s+ (?: (?:(?:will|would|might|may|do|usually|often|still|then|next)\s+)* also \s+ (?:would\s+)? {_NEED} {_LATER}*
               | (?:(?:will|would|might|may|do|usually|often|still|then|next)\s+)* {_NEED} {_LATER}+
               | {_NEED} (?P<bare>)
             ) $""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class LeadIn:
    """Words before a name: `end`, their end in the text, and `negative`, whether they negate ("who never bought")."""

    end: int
    negative: bool


def split_question(text: str) -> tuple[Direction, str]:
    """Return the direction of a question and the part with the names; lead-ins such as "users who bought" stay in that part."""
    stripped = re.sub(r"[\s.?!…]+$", "", text)
    if match := _REVERSE.fullmatch(stripped):
        return "reverse", match["rest"]
    if match := _FORWARD.fullmatch(stripped):
        return "next", next(part for part in match.groups() if part)
    trailer = _TRAILER.search(stripped)
    unfinished = text.rstrip("?! ").endswith(("...", "…"))
    if trailer and (trailer["bare"] is None or unfinished or _LEAD.match(stripped)):
        return "next", stripped[: trailer.start()]
    return "next", stripped


def match_lead_in(text: str, start: int) -> LeadIn | None:
    """Return the words from `start` on that introduce a name, such as "users who bought" or "the"; None if there are none."""
    match = _LEAD.match(text, start)
    return LeadIn(match.end(), bool(match["no"] or match["never"])) if match else None


def strip_owner_noun(name: str) -> str:
    """Return the name without a noun for people at its end: "phone" for "phone buyers"."""
    return _OWNERS.sub("", name)
