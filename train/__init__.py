"""Training of channels, blend, LLM ranker and explainer from a store's own histories."""
