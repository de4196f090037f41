"""Build the network, batches and stages of a recipe, which is the Python file in which a user describes a training."""
