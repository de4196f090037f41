"""Check the labels: classes, spellings, numbers that look wrong."""
