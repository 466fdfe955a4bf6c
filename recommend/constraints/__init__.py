"""Rules on items and lists: eligibility, prices, popularity penalty, exploration, list selection."""
