"""The category lift matrix and the items behind its cells."""
