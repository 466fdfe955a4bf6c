"""Writing of snapshots: ingest, added items, event compaction, rewriting, erasure of users."""
