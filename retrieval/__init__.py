"""What it could be: text, vectors, associations, and the candidates that come of them."""
