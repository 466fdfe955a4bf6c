"""Is it any good: checks and measures that know nothing of how the answers were made."""
