"""Joining the predictions of runs, whatever made them."""
