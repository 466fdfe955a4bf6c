"""Ranking metrics, beyond-accuracy metrics, full ranking, slices."""
