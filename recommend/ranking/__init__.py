"""Scoring of candidates: features, rank fusion, learned blend, LLM re-ranking."""
