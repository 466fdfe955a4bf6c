"""Train/test splits: evaluation cases, split protocols, held-out data, the training view and leakage checks."""
