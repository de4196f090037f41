"""Read the files of a competition, and write a recipe for it. This package imports no Keras."""
