"""Predict images with a network or with a finished run, and export a run as ONNX."""
