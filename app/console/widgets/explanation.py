"""A reason as the console shows it: every stretch of it that rests on something says on what, to a pointer, a keyboard and a finger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .elements import box, say

KINDS = {"history": "had before", "association": "counted", "review": "a review", "attribute": "of the item", "need": "said"}


def stretches(text: str, claims: Sequence[Mapping[str, str]]) -> list[tuple[str, str | None]]:
    """A text in pieces: each with the id of the evidence that it rests on, None where it claims nothing.

    The pieces, put together, are the text. A claim that is not found, or lies inside an earlier one, stays a part of its surroundings.

    >>> stretches("Dry. Light.", [{"text": "Light.", "evidence": "e2"}])
    [('Dry. ', None), ('Light.', 'e2')]
    """
    found = sorted((text.find(claim["text"]), claim["text"], claim["evidence"]) for claim in claims if claim["text"])
    pieces: list[tuple[str, str | None]] = []
    end = 0
    for start, words, evidence in found:
        if start < end:  # not found is -1
            continue
        if start > end:
            pieces.append((text[end:start], None))
        pieces.append((words, evidence))
        end = start + len(words)
    if end < len(text):
        pieces.append((text[end:], None))
    return pieces


def reason(explanation: Mapping[str, Any] | None) -> None:
    """Draws why an item is recommended; also where there is no reason strong enough to state."""
    if explanation is None or not explanation["text"]:
        say("p", "No reason strong enough to state.", "reason soft")
        return
    facts = {fact["id"]: fact for fact in explanation["evidence"] if "id" in fact}
    for line in explanation["text"].split("\n"):
        with box("p", "reason", dir="auto"):
            for words, evidence in stretches(line, explanation["claims"]):
                fact = facts.get(evidence) if evidence else None
                if fact is None:
                    say("span", words)
                    continue
                with box("span", "claim", tabindex="0", role="note", aria_label=f"{words} {rests(fact)}"):
                    say("span", words, aria_hidden="true")
                    say("span", rests(fact), "tip", aria_hidden="true")


def rests(fact: Mapping[str, Any]) -> str:
    """What a fact is, and in words."""
    words = f"“{fact['text']}”" if fact["kind"] == "review" else fact["text"]
    return f"{KINDS.get(fact['kind'], fact['kind']).capitalize()}{', against it' if fact.get('against') else ''}: {words}"


def evidence(explanation: Mapping[str, Any] | None) -> None:
    """Draws all that was found for an item, told in the reason or not."""
    if explanation is None or not explanation["evidence"]:
        return
    with box("details", "more").style("margin-top: 4px"):
        say("summary", f"All evidence ({len(explanation['evidence'])})", "small")
        with box("ul", "evidence"):
            for fact in explanation["evidence"]:
                with box("li"):
                    say("span", KINDS.get(fact["kind"], fact["kind"]) + (", against" if fact.get("against") else ""), "soft")
                    say("span", f"“{fact['text']}”" if fact["kind"] == "review" else fact["text"], dir="auto")
