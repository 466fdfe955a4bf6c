"""Whether shown explanations hold, and figures over many of them, read from the answer's JSON alone.

This is a second opinion on `llm.explain.grounding`: it sees only what a user of `recommend --json` sees. What it cannot see is whether an evidence
text itself is true; the tests recount those, and `scripts/check_explanations.py` reads names and quotations again in the store's files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from . import text_statistics
from .claims import SPOKEN, Statement, item_names, known_names, statements, told
from .text_spans import quotations, spans, stands

_FAULTS = {
    "name": "a name from nowhere: {}",
    "figure": "a figure from nowhere: {}",
    "number": "a number from nowhere: {}",
    "quotation": "quotes nobody: {}",
}


def unsupported(recommendation: Mapping[str, Any]) -> list[str]:
    """What the shown text of one recommendation says without evidence, in words; empty when it holds or nothing is shown.

    Args: recommendation: one entry of `recommendations` in the JSON.
    """
    explanation = recommendation.get("explanation")
    if not explanation or not explanation["text"]:
        return []
    text: str = explanation["text"]
    found = [] if explanation["verified"] else ["shown though not verified"]
    if not quotations(text, known_names(recommendation))[1]:
        found.append("a quotation does not close")
    found += [_FAULTS[said.kind].format(said.text) for said in statements(recommendation) if not said.supported]
    if not spans(text, item_names(recommendation)):
        found.append("does not name the item")
    return found + claim_faults(recommendation)


def claim_faults(recommendation: Mapping[str, Any]) -> list[str]:
    """What is wrong with the `claims` that the explanation itself lists, in words; none where it lists none.

    A claim's words must stand in the text and its fact must exist; its figures, numbers and quotations must be borne out by that very
    fact. Two facts must not have one id.
    """
    explanation = recommendation["explanation"]
    ids = [fact.get("id") for fact in explanation["evidence"]]
    found = [f"two facts are called {name}" for name in sorted({str(name) for name in ids if name is not None and ids.count(name) > 1})]
    for claim in explanation.get("claims") or ():
        words, name = claim["text"], claim["evidence"]
        if not stands(words, explanation["text"]):
            found.append(f"a claim that is not in the text: {words}")
        if name is None or name not in ids:
            found.append(f"a claim without its fact {name}: {words}")
        elif not _bears(recommendation, ids.index(name), words):
            found.append(f"a claim that {name} does not bear out: {words}")
    return found


def _bears(recommendation: Mapping[str, Any], place: int, words: str) -> bool:
    """Whether a fact bears out what a claim states; the claim may be a quotation without its marks."""
    fact = recommendation["explanation"]["evidence"][place]
    if fact["kind"] in SPOKEN and stands(words, fact["text"]):
        return True
    return all(place in said.facts for said in statements(recommendation, words) if said.kind != "name")


@dataclass(frozen=True, slots=True)
class ExplanationReport:
    """Figures over many explanations; a share of nothing is NaN.

    Attributes:
        shown: how many have a text. without_text: how many abstain. unsupported: how many of the shown fail `unsupported`.
        statements, precision: names, figures, numbers and quotations stated, and the share of them that the evidence bears out.
        facts, recall: facts in the evidence of the shown, and the share of them that is told.
        llm_share, fallback: share of the shown that the model worded, and that fell back to the evidence's own sentence.
        abstention: share of the explanations that have no text.
        distinct_1, distinct_2, unique_sentences, commonest_opening, words, grade: as in `wording`, over the shown.
        feature_coverage, feature_matching: as in `wording`; see `report`.
    """

    shown: int
    without_text: int
    unsupported: int
    statements: int
    precision: float
    facts: int
    recall: float
    llm_share: float
    fallback: float
    abstention: float
    distinct_1: float
    distinct_2: float
    unique_sentences: float
    commonest_opening: float
    words: float
    grade: float
    feature_coverage: float
    feature_matching: float

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON holds them."""
        return asdict(self)


def report(recommendations: Iterable[Mapping[str, Any]], features: Sequence[str] = ()) -> ExplanationReport:
    """The figures of explained recommendations, as the JSON gives them.

    Args:
        features: words of attributes, such as "waterproof", looked for in the texts; an explanation is meant to tell those of its evidence.
            Without any, the features are the kinds of evidence, and an explanation is meant to tell its strongest fact's.
    """
    explained = [entry for entry in recommendations if entry.get("explanation")]
    shown = [entry for entry in explained if entry["explanation"]["text"]]
    texts: list[str] = [entry["explanation"]["text"] for entry in shown]
    stated = [statements(entry) for entry in shown]
    facts = [told(entry, found) for entry, found in zip(shown, stated, strict=True)]
    sources = [entry["explanation"]["source"] for entry in shown]
    mentioned, wanted, among = _features(shown, facts, features)
    return ExplanationReport(
        shown=len(shown),
        without_text=len(explained) - len(shown),
        unsupported=sum(bool(unsupported(entry)) for entry in shown),
        statements=sum(map(len, stated)),
        precision=precision(stated),
        facts=sum(map(len, facts)),
        recall=_share([fact for of_one in facts for fact in of_one]),
        llm_share=_share([source == "llm" for source in sources]),
        fallback=_share([source == "evidence" for source in sources]),
        abstention=_share([not entry["explanation"]["text"] for entry in explained]),
        distinct_1=text_statistics.distinct(texts, 1),
        distinct_2=text_statistics.distinct(texts, 2),
        unique_sentences=text_statistics.unique_sentences(texts),
        commonest_opening=text_statistics.commonest_opening(texts, [_names(entry) for entry in shown]),
        words=text_statistics.mean_words(texts),
        grade=text_statistics.grade(texts),
        feature_coverage=text_statistics.feature_coverage(mentioned, among),
        feature_matching=text_statistics.feature_matching(mentioned, wanted),
    )


def precision(stated: Iterable[Sequence[Statement]]) -> float:
    """Share of all statements that are supported, 0 to 1; NaN where nothing is stated."""
    return _share([said.supported for of_one in stated for said in of_one])


def _features(
    shown: Sequence[Mapping[str, Any]], facts: Sequence[Sequence[bool]], features: Sequence[str]
) -> tuple[list[set[str]], list[set[str]], set[str]]:
    """The features that each text tells, those that it is meant to tell, and all that there are."""
    evidence = [entry["explanation"]["evidence"] for entry in shown]
    if features:
        told_words = [text_statistics.mentions(entry["explanation"]["text"], features) for entry in shown]
        meant = [text_statistics.mentions(" \n ".join(fact["text"] for fact in of_one), features) for of_one in evidence]
        return told_words, meant, set(features)
    kinds = [
        {fact["kind"] for fact, is_told in zip(of_one, known, strict=True) if is_told}
        for of_one, known in zip(evidence, facts, strict=True)
    ]
    return (
        kinds,
        [{of_one[0]["kind"]} if of_one else set() for of_one in evidence],
        {fact["kind"] for of_one in evidence for fact in of_one},
    )


def _names(entry: Mapping[str, Any]) -> str:
    """The names of the item and of the history items in its evidence."""
    facts = entry["explanation"]["evidence"]
    return " ".join([entry["title"], *(fact["text"].partition(": ")[2] for fact in facts if fact["kind"] == "history")])


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else float("nan")
