"""Data layer: records, workspace, snapshots, readers, events, privacy, settings and errors. Imports no other package of the project."""
