"""Recommendations as plain JSON types, for the command line, the HTTP API and files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..data.records import Evidence, Explanation, Recommendation, Recommendations


def to_dict(recommendations: Recommendations) -> dict[str, Any]:
    """Return recommendations in the format of `recommend --json`."""
    query = recommendations.query
    return {
        "query": {
            "user_id": query.user_id,
            "items": list(query.items),
            "text": query.text,
            "scope": query.rules.scope,
            "k": query.k,
        },
        "recommendations": [_recommendation(recommendation) for recommendation in recommendations.items],
        "unsatisfied": list(recommendations.unsatisfied),
        "timings_ms": dict(recommendations.timings_ms),
        "llm": None if recommendations.llm is None else asdict(recommendations.llm),
    }


def explanation_to_dict(recommendation: Recommendation) -> dict[str, Any]:
    """Return the explanation of one recommendation, for streaming: rank, item_id, explanation."""
    return {
        "rank": recommendation.rank,
        "item_id": recommendation.item.item_id,
        "explanation": _explanation(recommendation.explanation) if recommendation.explanation else None,
    }


def _recommendation(recommendation: Recommendation) -> dict[str, Any]:
    return {
        "rank": recommendation.rank,
        "item_id": recommendation.item.item_id,
        "title": recommendation.item.title,
        "category": list(recommendation.item.category),
        "price": recommendation.item.price,
        "score": recommendation.score,
        "channels": dict(recommendation.channels),
        "anchor": recommendation.anchor,
        "explanation": _explanation(recommendation.explanation) if recommendation.explanation else None,
        **({"propensity": round(recommendation.propensity, 4)} if recommendation.propensity is not None else {}),
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "text": explanation.text,
        "source": explanation.source,
        "verified": explanation.verified,
        "evidence": [_fact(fact) for fact in explanation.evidence],
        "claims": [{"text": claim.text, "evidence": claim.evidence_id} for claim in explanation.claims],
        **({"customer_copy": asdict(explanation.customer_copy)} if explanation.customer_copy else {}),
    }


def _fact(fact: Evidence) -> dict[str, Any]:
    fields = {"id": fact.evidence_id or None, "kind": fact.kind, "text": fact.text, "item_id": fact.item_id, "value": fact.value}
    return {name: value for name, value in fields.items() if value is not None} | ({"against": True} if fact.against else {})
