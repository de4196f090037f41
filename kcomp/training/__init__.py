"""Train a recipe with one fold and one seed on the current backend."""
