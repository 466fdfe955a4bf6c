"""Association rules: counting, statistics, substitutes, co-views."""
