"""Parsing of segment questions: grammar, phrases, name matching, filters."""
