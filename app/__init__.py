"""The doors: the command line, and what it prints for a person."""
