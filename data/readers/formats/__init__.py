"""One module per input format: which files there are and what their columns mean."""
