"""Explanations in the console: every claim shows its evidence to pointers, keyboards and screen readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....data.store_words import DEFAULT_WORDS, StoreWords, sentence_start
from .elements import container, text_element

EVIDENCE_KINDS = {
    "history": "in the history",
    "association": "{participle} together",
    "review": "a review",
    "attribute": "about the {item}",
    "need": "the request",
    "use": "what it is for",
}
"""Kind of evidence to its label, a template for `StoreWords.fill`."""

CUSTOMER_COPY = {"Subject": "subject", "One line": "line", "In place of the picture": "alternative_text"}
"""Label of each text for a mail to its name in the JSON."""


def claim_spans(text: str, claims: Sequence[Mapping[str, str]]) -> list[tuple[str, str | None]]:
    """Split a text into spans, each with the id of the evidence that supports it, or None.

    The concatenated spans are the text. Claims that do not occur in the text, or that overlap an earlier claim, are ignored.

    >>> claim_spans("Dry. Light.", [{"text": "Light.", "evidence": "e2"}])
    [('Dry. ', None), ('Light.', 'e2')]
    """
    positions = sorted((text.find(claim["text"]), claim["text"], claim["evidence"]) for claim in claims if claim["text"])
    spans: list[tuple[str, str | None]] = []
    end = 0
    for start, claim_text, evidence_id in positions:
        if start < end:  # -1 if the claim does not occur
            continue
        if start > end:
            spans.append((text[end:start], None))
        spans.append((claim_text, evidence_id))
        end = start + len(claim_text)
    if end < len(text):
        spans.append((text[end:], None))
    return spans


def explanation_text(explanation: Mapping[str, Any] | None, words: StoreWords = DEFAULT_WORDS) -> None:
    """Draw the explanation of a recommendation, or a sentence if there is none. Args: words: the store's."""
    if explanation is None or not explanation["text"]:
        text_element("p", "No reason strong enough to state.", "reason soft")
        return
    facts = {fact["id"]: fact for fact in explanation["evidence"] if "id" in fact}
    for line in explanation["text"].split("\n"):
        with container("p", "reason", dir="auto"):
            for span, evidence_id in claim_spans(line, explanation["claims"]):
                fact = facts.get(evidence_id) if evidence_id else None
                if fact is None:
                    text_element("span", span)
                    continue
                evidence_text = _describe_evidence(fact, words)
                with container("span", "claim", tabindex="0", role="note", aria_label=f"{span} {evidence_text}"):
                    text_element("span", span, aria_hidden="true")
                    text_element("span", evidence_text, "tip", aria_hidden="true")
    if copy := explanation.get("customer_copy"):
        with container("dl", "small soft", dir="auto"):
            for label, name in CUSTOMER_COPY.items():
                text_element("dt", label)
                text_element("dd", copy[name])


def evidence_list(explanation: Mapping[str, Any] | None, words: StoreWords = DEFAULT_WORDS) -> None:
    """Draw all evidence of an explanation, whether its text uses it or not. Args: words: the store's."""
    if explanation is None or not explanation["evidence"]:
        return
    with container("details", "more").style("margin-top: 4px"):
        text_element("summary", f"All evidence ({len(explanation['evidence'])})", "small")
        with container("ul", "evidence"):
            for fact in explanation["evidence"]:
                with container("li"):
                    text_element("span", _evidence_kind(fact, words) + (", against" if fact.get("against") else ""), "soft")
                    text_element("span", _evidence_text(fact), dir="auto")


def _describe_evidence(fact: Mapping[str, Any], words: StoreWords) -> str:
    """The kind of a piece of evidence, and its text."""
    return f"{sentence_start(_evidence_kind(fact, words))}{', against it' if fact.get('against') else ''}: {_evidence_text(fact)}"


def _evidence_kind(fact: Mapping[str, Any], words: StoreWords) -> str:
    return words.fill(EVIDENCE_KINDS[fact["kind"]]) if fact["kind"] in EVIDENCE_KINDS else str(fact["kind"])


def _evidence_text(fact: Mapping[str, Any]) -> str:
    return f"“{fact['text']}”" if fact["kind"] == "review" else str(fact["text"])
