"""Trains what language models need of a store: the ranker, its weight in the order, and the explainer."""
