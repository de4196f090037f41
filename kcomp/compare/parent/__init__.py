"""The process of the command: start the worker processes, and report their measurements, without Keras."""
