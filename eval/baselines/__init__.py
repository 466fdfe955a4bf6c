"""Baselines and their hyperparameter tuning."""
