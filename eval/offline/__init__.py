"""Offline evaluation of baselines, channels and the blend on the same cases."""
