"""Embedding and the vector index."""
