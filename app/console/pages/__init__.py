"""The pages of the web console."""
