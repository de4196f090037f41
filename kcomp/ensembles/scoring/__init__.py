"""Scores of single models, of their ensemble, and of groups of models."""
