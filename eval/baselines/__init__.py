"""Baselines and their tuning."""
