"""The methods that combine the predictions of several models: averages, fitted weights, stacking, temperatures."""
