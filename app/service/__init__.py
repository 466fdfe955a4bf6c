"""Services that the HTTP API and the console share: the open store, lookups, build steps, API keys, CSV export."""
