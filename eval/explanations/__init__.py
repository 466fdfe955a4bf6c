"""Evaluation of explanations: factual support of their statements, and text statistics."""
