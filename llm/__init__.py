"""Which candidates, and why: a causal LLM that ranks, and words reasons that are then checked."""
