"""The learning rate range test: train a few steps at a rising rate, and suggest a rate from the losses."""
