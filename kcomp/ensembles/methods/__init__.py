"""Every way to join members: averages, weights, stacking, and temperatures."""
