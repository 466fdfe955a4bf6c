"""Whether shown explanations hold, read from the answer's JSON alone.

This is a second opinion on `llm.grounding`: it shares no code with it, does not know the words the store uses, and sees only what a
user of `recommend --json` sees. What it cannot see is whether an evidence text itself is true; the tests recount those.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any


def unsupported(recommendation: Mapping[str, Any]) -> list[str]:
    """What the shown text of one recommendation says without evidence, in words; empty when it holds or nothing is shown.

    Args: recommendation: one entry of `recommendations` in the JSON.
    """
    explanation = recommendation.get("explanation")
    if not explanation or not explanation["text"]:
        return []
    text: str = explanation["text"]
    found = [] if explanation["verified"] else ["shown though not verified"]
    facts = explanation["evidence"]
    everything = " ".join([recommendation["title"], *(fact["text"] for fact in facts)])
    opened = text.split("“")
    if text.count("“") != text.count("”"):
        found.append("a quotation does not close")
    outside = opened[0]
    for part in opened[1:]:
        quote, _, rest = part.partition("”")
        if not any(quote in fact["text"] for fact in facts if fact["kind"] in ("review", "need")):
            found.append(f"quotes nobody: {quote}")
        outside += " " + rest
    numbers = {token for token in re.split(r"[^0-9.,]+", everything) if token.strip(".,")}
    numbers = {token.strip(".,") for token in numbers}
    for token in re.findall(r"[0-9][0-9.,]*", outside):
        if token.strip(".,") not in numbers:
            found.append(f"a number from nowhere: {token}")
    known = set(re.split(r"\W+", everything))
    for sentence in re.split(r"(?<=[.:!?]) ", outside):
        for word in re.split(r"\W+", sentence.strip())[1:]:
            if word[:1].isupper() and word not in known:
                found.append(f"a name from nowhere: {word}")
    lead = recommendation["title"].split()[:1]
    if lead and lead[0].strip(".,:;-\"'“”()[]") not in text:
        found.append("does not name the item")
    return found


@dataclass(frozen=True, slots=True)
class ExplanationReport:
    """Figures over many explanations.

    Attributes:
        shown: how many have a text. without_text: how many abstain. unsupported: how many of the shown fail `unsupported`.
        llm_share: share of the shown that the model worded, 0 to 1.
        distinct_2: distinct word pairs over all word pairs of the shown, 0 to 1 (Li et al., NAACL 2016).
        commonest_opening: share of the shown whose first six words, those of product names left aside, are the same.
        words: mean length in words.
    """

    shown: int
    without_text: int
    unsupported: int
    llm_share: float
    distinct_2: float
    commonest_opening: float
    words: float

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON holds them."""
        return asdict(self)


def report(recommendations: Iterable[Mapping[str, Any]]) -> ExplanationReport:
    """The figures of explained recommendations, as the JSON gives them; all shares NaN when none has a text."""
    explained = [(entry, entry["explanation"]) for entry in recommendations if entry.get("explanation")]
    shown = [(entry, about) for entry, about in explained if about["text"]]
    texts = [about["text"].split() for _, about in shown]
    pairs = [pair for words in texts for pair in pairwise(words)]
    openings = Counter(_opening(entry) for entry, _ in shown)
    return ExplanationReport(
        shown=len(shown),
        without_text=len(explained) - len(shown),
        unsupported=sum(bool(unsupported(entry)) for entry, _ in shown),
        llm_share=_share([about["source"] == "llm" for _, about in shown]),
        distinct_2=len(set(pairs)) / len(pairs) if pairs else float("nan"),
        commonest_opening=max(openings.values()) / len(shown) if shown else float("nan"),
        words=sum(map(len, texts)) / len(texts) if texts else float("nan"),
    )


def _opening(entry: Mapping[str, Any]) -> str:
    """The first six words of a text without those of the titles and history items in its evidence."""
    about = entry["explanation"]
    names = " ".join([entry["title"], *(fact["text"].partition(": ")[2] for fact in about["evidence"] if fact["kind"] == "history")])
    own = set(re.split(r"\W+", names))
    return " ".join([word for word in re.split(r"\W+", about["text"]) if word and word not in own][:6])


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else float("nan")
