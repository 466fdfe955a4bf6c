"""HTML reports of evaluations and judgements."""
