"""Corrections of final predictions: smoothing of confident ones, and class rates of the test rows."""
