"""Faster layers, training steps and optimizer updates for Keras, with the same results up to rounding."""
