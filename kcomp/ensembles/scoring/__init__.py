"""Scores of members, of their ensemble, and of groups of members."""
