"""Constraints on recommendations: eligibility, price ranges, list-level rules, popularity penalty, exploration."""
