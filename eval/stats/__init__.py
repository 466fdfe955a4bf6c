"""Intervals and tests: bootstrap, proportions, agreement, power, sequential tests, pairwise models."""
