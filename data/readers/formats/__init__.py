"""One module per input format: its files and the meaning of their columns."""
