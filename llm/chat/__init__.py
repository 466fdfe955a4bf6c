"""Chat models: OpenAI-compatible endpoints and local models, messages, back-off."""
