"""Build the network, batches and stages of a recipe, for training, prediction and soups."""
