"""Measure images: size, format, brightness, sharpness, noise and hashes. The measurements are cached on disk."""

from kcomp.measurements.facts import Facts, ImageFacts
from kcomp.measurements.measure import measure, measure_images

__all__ = ["Facts", "ImageFacts", "measure", "measure_images"]
