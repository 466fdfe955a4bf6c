"""Recommendations as the JSON that every door gives: command line, HTTP, files."""

from __future__ import annotations

from typing import Any

from ..data.records import Evidence, Explanation, Recommendation, Recommendations


def to_dict(answer: Recommendations) -> dict[str, Any]:
    """The answer as plain JSON types, as `recommend --json` prints them."""
    query = answer.query
    return {
        "query": {
            "user_id": query.user_id,
            "items": list(query.items),
            "text": query.text,
            "scope": query.rules.scope,
            "k": query.k,
        },
        "recommendations": [_recommendation(found) for found in answer.items],
        "unsatisfied": list(answer.unsatisfied),
        "timings_ms": dict(answer.timings_ms),
    }


def explanation_to_dict(found: Recommendation) -> dict[str, Any]:
    """A recommendation's reason alone, as a stream of an answer has it: rank, item_id, explanation."""
    return {
        "rank": found.rank,
        "item_id": found.item.item_id,
        "explanation": _explanation(found.explanation) if found.explanation else None,
    }


def _recommendation(found: Recommendation) -> dict[str, Any]:
    return {
        "rank": found.rank,
        "item_id": found.item.item_id,
        "title": found.item.title,
        "category": list(found.item.category),
        "price": found.item.price,
        "score": found.score,
        "channels": dict(found.channels),
        "anchor": found.anchor,
        "explanation": _explanation(found.explanation) if found.explanation else None,
        **({"propensity": round(found.propensity, 4)} if found.propensity is not None else {}),
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "text": explanation.text,
        "source": explanation.source,
        "verified": explanation.verified,
        "evidence": [_fact(fact) for fact in explanation.evidence],
        "claims": [{"text": claim.text, "evidence": claim.evidence_id} for claim in explanation.claims],
    }


def _fact(fact: Evidence) -> dict[str, Any]:
    told = {"id": fact.evidence_id or None, "kind": fact.kind, "text": fact.text, "item_id": fact.item_id, "value": fact.value}
    return {name: value for name, value in told.items() if value is not None} | ({"against": True} if fact.against else {})
