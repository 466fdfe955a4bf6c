"""Metrics of explanations: claims, evidence support, text statistics."""
