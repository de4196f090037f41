"""Model soups: averages of the weights of runs."""
