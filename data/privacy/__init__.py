"""Disclosure rules, privacy budget, query auditing, PII masking and pseudonyms."""
