"""Two corrections of final predictions: smoothing of confident predictions, and adaptation to the class rates of the
test rows.
"""
