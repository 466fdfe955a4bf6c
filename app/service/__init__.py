"""What the HTTP API and the console share: one open store, build status, API keys, CSV export."""
