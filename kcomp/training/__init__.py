"""Train the network of a recipe with one held-out fold and one seed.

A recipe is the Python file in which a user describes a training. The current Keras backend trains the network.
"""
