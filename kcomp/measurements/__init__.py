"""Measure image files: size, format, brightness, sharpness, noise, hashes. Results are cached."""

from kcomp.measurements.facts import Facts, ImageFacts
from kcomp.measurements.measure import measure, measure_images

__all__ = ["Facts", "ImageFacts", "measure", "measure_images"]
