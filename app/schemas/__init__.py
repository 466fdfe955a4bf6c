"""Pydantic models of HTTP requests and responses."""
