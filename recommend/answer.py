"""Recommendations as the JSON that every door gives: command line, HTTP, files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..data.records import Explanation, Recommendation, Recommendations


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
        "evidence": [{name: value for name, value in asdict(fact).items() if value is not None} for fact in explanation.evidence],
    }
