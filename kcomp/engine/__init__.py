"""Basic operations on Keras networks: list the calls of layers, draw initial weights, set precision and devices."""
