"""Language models: ranking of candidates, explanations with grounding checks, chat endpoints."""
