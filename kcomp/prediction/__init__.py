"""Predict images with a network or with the networks of a finished training run, and export a run as ONNX."""
