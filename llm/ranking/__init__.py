"""Packed yes/no scoring of candidates by a language model."""
