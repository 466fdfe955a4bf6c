"""Recommendations: combines the candidates of `retrieval` and the LLM of `llm` under the rules of a query."""
