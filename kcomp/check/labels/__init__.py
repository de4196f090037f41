"""Check the labels: classes, spellings, and values of numbers that look wrong."""
