"""Statistics: bootstrap and Wilson intervals, agreement, power, confidence sequences, win rates and Bradley-Terry models."""
