"""The rows that runs held out, and the outcome of each."""
