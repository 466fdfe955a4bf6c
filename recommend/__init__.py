"""Joining the two: candidates of `retrieval`, the LLM of `llm`, the shopper's rules, into recommendations."""
