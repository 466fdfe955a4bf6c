"""Chat models: requests and responses, OpenAI-compatible endpoints, local models, rate limit."""
