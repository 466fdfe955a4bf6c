"""Explanations that a capable model writes for one shopper, and the check of what it wrote."""
