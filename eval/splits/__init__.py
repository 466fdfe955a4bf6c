"""Evaluation cases: protocols, held-out users, the training view, leakage checks."""
