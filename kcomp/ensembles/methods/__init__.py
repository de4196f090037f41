"""The methods that combine the predictions of members: averages, weights, stacking, and temperatures."""
