"""Measure image files: size, format, brightness, sharpness, noise, hashes. Results are cached. No Keras here."""
