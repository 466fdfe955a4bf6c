"""Questions about groups of users: cohorts, next purchases, comparisons, disclosure control."""
