"""Check the labels: their classes, spellings and numbers."""
