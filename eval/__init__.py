"""Evaluation: offline ranking metrics, online outcome reports, statistics, explanation checks and LLM judging."""
