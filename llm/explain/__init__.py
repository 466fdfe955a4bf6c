"""Explanations by a language model: briefs, constrained decoding, grounding checks."""
