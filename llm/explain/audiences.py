"""Who reads an explanation: a customer without counts, a marketer as it is, an analyst with every fact and figure.

The facts and their evidence are the same for all three; only what the text states of them differs. A customer's text says "most shoppers"
only of more than half of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from ...data.errors import QueryError
from ...data.records import Claim, CustomerCopy, Explanation
from ...data.store_words import sentence_start
from ...prompts.sanitize import sanitize_for_prompt
from .briefs import LENGTHS, TONES, Tone
from .constrained_decoding import Length
from .grounding import grounding_faults
from .reasons import MAX_NAME_CHARS, fact_line
from .slots import SupportStatistic, readable_share, with_article

if TYPE_CHECKING:
    from .explainer import Explainer
    from .reasons import Reason

Audience = Literal["customer", "marketer", "analyst"]
AUDIENCES = get_args(Audience)
MAX_SUBJECT_CHARS = 70
"""Letters of a subject line that common mail programs show."""
_COUNTED = ("association", "attribute")
_SHARE = re.compile(r"^(\d+) of (\d+) ")
_USUAL = re.compile(r"\b\d+(?:\.\d+)? times the usual share")
_RECENTLY = re.compile(r"\bby \d+ (.+?) in the last \d+ days of the store")


@dataclass(frozen=True, slots=True)
class Style:
    """How explanations are written.

    Attributes:
        tone: plain, warm or expert.
        length: line, paragraph or bullets.
        audience: customer, marketer or analyst.

    Raises:
        QueryError: A value is none of these.
    """

    tone: Tone = "warm"
    length: Length = "line"
    audience: Audience = "marketer"

    def __post_init__(self) -> None:
        for name, value, options in (("tone", self.tone, TONES), ("length", self.length, LENGTHS), ("audience", self.audience, AUDIENCES)):
            if value not in options:
                raise QueryError(f"the {name} of explanations must be one of {', '.join(options)}, not {value!r}")


def explain_for(
    explainer: Explainer,
    reasons: Sequence[Reason],
    style: Style,
    categories: Sequence[str | None],
    on_explanation: Callable[[int, Explanation], None] | None = None,
) -> list[Explanation]:
    """Return one explanation per reason, in order.

    Args:
        explainer: Words the reasons; not needed for an analyst.
        reasons: The facts.
        style: How they are written.
        categories: Name of each item's category; None if unknown.
        on_explanation: As for `Explainer.explain`.

    Raises:
        TimedOutError: The current deadline has passed.
    """
    if style.audience == "analyst":
        listed = [for_analyst(reason) for reason in reasons]
        for index, explanation in enumerate(listed if on_explanation else ()):
            on_explanation(index, explanation)  # type: ignore[misc]  # not None
        return listed
    if style.audience == "marketer":
        return explainer.explain(reasons, style.tone, style.length, on_explanation)
    shown = [for_customer(reason) for reason in reasons]

    def with_copy(index: int, explanation: Explanation) -> Explanation:
        return with_customer_copy(explanation, shown[index], categories[index])

    def on_ready(index: int, explanation: Explanation) -> None:
        if on_explanation is not None:
            on_explanation(index, with_copy(index, explanation))

    explanations = explainer.explain(shown, style.tone, style.length, on_ready if on_explanation else None)
    return [with_copy(index, explanation) for index, explanation in enumerate(explanations)]


def for_customer(reason: Reason) -> Reason:
    """Return a reason whose texts have no counts of other shoppers, neither filled nor as a model reads them; its evidence keeps them."""
    return replace(
        reason,
        shown_evidence=tuple(replace(fact, text=_without_counts(fact.text)) if fact.kind in _COUNTED else fact for fact in reason.evidence),
        clauses=tuple(_without_counts(clause) for clause in reason.clauses),
        plain_sentence=sentence_start(_without_counts(reason.plain_sentence)),
        slot_values={
            slot: replace(value, counted=False) if isinstance(value, SupportStatistic) else _without_counts(value)
            for slot, value in reason.slot_values.items()
        },
    )


def with_customer_copy(explanation: Explanation, reason: Reason, category: str | None) -> Explanation:
    """Return an explanation for a customer with texts for a mail; unchanged without a verified text.

    Args:
        explanation: The explanation.
        reason: Its reason, as of `for_customer`.
        category: Name of the item's category, for the alternative text of its picture.
    """
    if not explanation.text:
        return explanation
    line = reason.plain_sentence or explanation.text
    alternative = f"{reason.item}, {sanitize_for_prompt(category, MAX_NAME_CHARS)}" if category else reason.item
    copy = CustomerCopy(_subject(reason), line if not _faults(line, reason) else explanation.text, alternative)
    return replace(explanation, customer_copy=copy)


def for_analyst(reason: Reason) -> Explanation:
    """Return an explanation that lists all facts with their figures, those against the item last."""
    if not reason.evidence:
        return Explanation("", "none", False)
    about = f"{reason.item}, because of {with_article(reason.anchor)}" if reason.anchor else reason.item
    facts = sorted(reason.evidence, key=lambda fact: fact.against)
    lines = [f"- {fact_line(fact, complaint='against it, ')} ({fact.evidence_id})" for fact in facts]
    claims = tuple(Claim(fact.text, fact.evidence_id) for fact in facts)
    return Explanation("\n".join([f"{about}:", *lines]), "evidence", True, reason.evidence, claims)


def _subject(reason: Reason) -> str:
    """Return a subject line: what the item is for, or what it goes with, as far as it fits."""
    purpose = reason.slot_values.get("use") or reason.slot_values.get("purpose")
    options = [
        f"For {purpose}: {with_article(reason.item)}" if purpose else "",
        f"To go with your {reason.anchor}: {with_article(reason.item)}" if reason.anchor and reason.anchor_purchased else "",
        f"To go with {with_article(reason.anchor)}: {with_article(reason.item)}" if reason.anchor and not reason.anchor_purchased else "",
        f"For “{reason.need}”: {with_article(reason.item)}" if reason.need and not reason.anchor else "",
    ]
    return next((text for text in options if text and len(text) <= MAX_SUBJECT_CHARS and not _faults(text, reason)), reason.item)


def _faults(text: str, reason: Reason) -> list[str]:
    return grounding_faults(text, reason.product_names, reason.evidence)


def _without_counts(text: str) -> str:
    """Return a clause without counts: "most shoppers who ..." for "108 of 144 shoppers who ..."."""
    text = _SHARE.sub(lambda match: f"{readable_share(int(match[1]), int(match[2]))} ", text)
    return _RECENTLY.sub(r"by other \1 lately", _USUAL.sub("more often than usual", text))
