"""Evidence for explanations: associations, review excerpts, declared relations, complaints."""
