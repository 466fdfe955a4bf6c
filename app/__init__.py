"""User interfaces: command line, HTTP API and web console."""
