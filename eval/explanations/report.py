"""Factual errors of explanations and statistics over many of them, from the JSON of the answers alone.

It is an independent check of `llm.explain.grounding`: it sees only what a user of `recommend --json` sees. It cannot see whether the
evidence itself is true; the tests recount it, and `scripts/check_explanations.py` looks names and quotations up in the store's files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from . import text_statistics
from .claims import QUOTABLE_KINDS, Statement, find_statements, item_names, known_names, mentioned_facts
from .text_spans import contains_phrase, find_names, find_quotations

_UNSUPPORTED = {
    "name": "unsupported name: {}",
    "figure": "unsupported figure: {}",
    "number": "unsupported number: {}",
    "quotation": "quotation that is not in the evidence: {}",
}


def explanation_errors(recommendation: Mapping[str, Any]) -> list[str]:
    """Return the factual errors of a recommendation's explanation; empty if it has none or no text.

    Args:
        recommendation: One entry of `recommendations` in the JSON.
    """
    explanation = recommendation.get("explanation")
    if not explanation or not explanation["text"]:
        return []
    text: str = explanation["text"]
    errors = [] if explanation["verified"] else ["text is not verified"]
    if not find_quotations(text, known_names(recommendation))[1]:
        errors.append("unclosed quotation")
    errors += [_UNSUPPORTED[s.kind].format(s.text) for s in find_statements(recommendation) if not s.supported]
    if not find_names(text, item_names(recommendation)):
        errors.append("does not name the item")
    return errors + claim_errors(recommendation)


def claim_errors(recommendation: Mapping[str, Any]) -> list[str]:
    """Return the errors of the `claims` that the explanation lists; none if it lists none.

    The words of a claim must be in the text and its fact must exist. The claim's figures, numbers and quotations must be supported by that
    fact. Ids of facts must be unique.
    """
    explanation = recommendation["explanation"]
    ids = [fact.get("id") for fact in explanation["evidence"]]
    duplicates = sorted({str(fact_id) for fact_id in ids if fact_id is not None and ids.count(fact_id) > 1})
    errors = [f"duplicate fact id {fact_id}" for fact_id in duplicates]
    for claim in explanation.get("claims") or ():
        text, fact_id = claim["text"], claim["evidence"]
        if not contains_phrase(text, explanation["text"]):
            errors.append(f"claim is not in the text: {text}")
        if fact_id is None or fact_id not in ids:
            errors.append(f"claim cites an unknown fact {fact_id}: {text}")
        elif not _supports(recommendation, ids.index(fact_id), text):
            errors.append(f"claim is not supported by {fact_id}: {text}")
    return errors


def _supports(recommendation: Mapping[str, Any], fact_index: int, claim: str) -> bool:
    """Whether a fact supports a claim; the claim may be a quotation without quotation marks."""
    fact = recommendation["explanation"]["evidence"][fact_index]
    if fact["kind"] in QUOTABLE_KINDS and contains_phrase(claim, fact["text"]):
        return True
    return all(fact_index in statement.facts for statement in find_statements(recommendation, claim) if statement.kind != "name")


@dataclass(frozen=True, slots=True)
class ExplanationReport:
    """Statistics over many explanations; a share of nothing is NaN.

    Attributes:
        shown: Number of explanations with a text.
        without_text: Number of explanations without a text.
        unsupported: Number of shown explanations with `explanation_errors`.
        statements: Number of names, figures, numbers and quotations.
        precision: Share of the statements that the evidence supports.
        facts: Number of facts in the evidence of the shown explanations.
        recall: Share of the facts that are mentioned.
        worded_share: Share of the shown explanations in words that a model learned or wrote.
        fallback: Share of the shown explanations that use the evidence's own sentence.
        abstention: Share of the explanations without a text.
        distinct_1, distinct_2, unique_sentences, commonest_opening: Variety, see `text_statistics`.
        words: Mean number of words.
        grade: Flesch-Kincaid grade.
        feature_coverage, feature_matching: See `text_statistics` and `explanation_report`.
    """

    shown: int
    without_text: int
    unsupported: int
    statements: int
    precision: float
    facts: int
    recall: float
    worded_share: float
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
        """Return the statistics for JSON."""
        return asdict(self)


def explanation_report(recommendations: Iterable[Mapping[str, Any]], features: Sequence[str] = ()) -> ExplanationReport:
    """Return statistics of explained recommendations.

    Args:
        recommendations: Entries of `recommendations` in the JSON.
        features: Attribute words, such as "waterproof", to look for in the texts; an explanation should mention those of its evidence.
            Without any, the features are the kinds of evidence, and an explanation should mention its strongest fact's.
    """
    explained = [entry for entry in recommendations if entry.get("explanation")]
    shown = [entry for entry in explained if entry["explanation"]["text"]]
    texts: list[str] = [entry["explanation"]["text"] for entry in shown]
    statements = [find_statements(entry) for entry in shown]
    mentioned = [mentioned_facts(entry, of_entry) for entry, of_entry in zip(shown, statements, strict=True)]
    sources = [entry["explanation"]["source"] for entry in shown]
    text_features, wanted_features, all_features = _features(shown, mentioned, features)
    return ExplanationReport(
        shown=len(shown),
        without_text=len(explained) - len(shown),
        unsupported=sum(bool(explanation_errors(entry)) for entry in shown),
        statements=sum(map(len, statements)),
        precision=statement_precision(statements),
        facts=sum(map(len, mentioned)),
        recall=_share([is_mentioned for entry in mentioned for is_mentioned in entry]),
        worded_share=_share([source in ("model", "wording") for source in sources]),
        fallback=_share([source == "evidence" for source in sources]),
        abstention=_share([not entry["explanation"]["text"] for entry in explained]),
        distinct_1=text_statistics.distinct_n(texts, 1),
        distinct_2=text_statistics.distinct_n(texts, 2),
        unique_sentences=text_statistics.unique_sentences(texts),
        commonest_opening=text_statistics.commonest_opening(texts, [_names(entry) for entry in shown]),
        words=text_statistics.mean_words(texts),
        grade=text_statistics.flesch_kincaid_grade(texts),
        feature_coverage=text_statistics.feature_coverage(text_features, all_features),
        feature_matching=text_statistics.feature_matching(text_features, wanted_features),
    )


def statement_precision(statements: Iterable[Sequence[Statement]]) -> float:
    """Return the share of all statements that are supported, 0 to 1; NaN without statements.

    Args:
        statements: Statements of each text.
    """
    return _share([statement.supported for of_text in statements for statement in of_text])


def _features(
    shown: Sequence[Mapping[str, Any]], mentioned: Sequence[Sequence[bool]], features: Sequence[str]
) -> tuple[list[set[str]], list[set[str]], set[str]]:
    """The features that each text mentions, those that it should mention, and all features."""
    evidence = [entry["explanation"]["evidence"] for entry in shown]
    if features:
        in_text = [text_statistics.mentioned_features(entry["explanation"]["text"], features) for entry in shown]
        wanted = [text_statistics.mentioned_features(" \n ".join(fact["text"] for fact in facts), features) for facts in evidence]
        return in_text, wanted, set(features)
    kinds = [
        {fact["kind"] for fact, is_mentioned in zip(facts, flags, strict=True) if is_mentioned}
        for facts, flags in zip(evidence, mentioned, strict=True)
    ]
    return (
        kinds,
        [{facts[0]["kind"]} if facts else set() for facts in evidence],
        {fact["kind"] for facts in evidence for fact in facts},
    )


def _names(entry: Mapping[str, Any]) -> str:
    """The names of the item and of the history items in its evidence, as one string."""
    facts = entry["explanation"]["evidence"]
    return " ".join([entry["title"], *(fact["text"].partition(": ")[2] for fact in facts if fact["kind"] == "history")])


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else float("nan")
