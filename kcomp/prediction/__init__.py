"""Predictions of networks and of runs, and their export."""
