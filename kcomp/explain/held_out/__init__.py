"""The rows that runs held out, and the outcome (right or wrong, loss, confidence) of each row."""
