"""What the command line prints for a person: tables, progress bars, rendered recommendations."""
