"""Build the network, batches and stages of a recipe (a Python file that describes a training)."""
