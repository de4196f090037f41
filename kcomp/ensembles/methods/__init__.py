"""Methods that combine the predictions of several models (averages, fitted weights, stacking), and calibrations."""
