"""Loading language models: bundled, local or by name, quantization, adapters."""
