"""The HTTP API: application, routes, authorization, limits, logging."""
