"""Labels by a large model at an endpoint, which the embedded LLM and the text heads are trained on."""
