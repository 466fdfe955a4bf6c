"""Channels: one scorer per source of candidates."""
