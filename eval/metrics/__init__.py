"""Ranking metrics: accuracy, beyond-accuracy metrics, slices and full ranking."""
