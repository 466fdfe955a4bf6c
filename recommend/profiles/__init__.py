"""User profiles: histories, live events, derived attributes."""
