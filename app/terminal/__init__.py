"""Terminal output for people: recommendations, result tables, progress bars."""
