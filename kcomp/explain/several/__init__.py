"""Compare several models on the same rows."""
