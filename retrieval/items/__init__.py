"""Item facts in memory: catalogue, category tree, interactions, item texts."""
