"""Model soups: networks whose weights are the average of the weights of several trainings."""
