"""Predict images with a network or with the networks of a finished training, and export a network as ONNX."""
