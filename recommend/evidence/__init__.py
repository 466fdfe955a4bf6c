"""Evidence for explanations: facts from behaviour, reviews, relations and attributes."""
