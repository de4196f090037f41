"""Train the network of a recipe with one held-out fold and one seed."""
