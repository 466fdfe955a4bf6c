"""User profiles: histories, live events, and attributes derived from them."""
