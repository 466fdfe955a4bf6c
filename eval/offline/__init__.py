"""Offline evaluation: baselines and the product's systems ranked on held-out cases, and the report of their metrics."""
