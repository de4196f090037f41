"""Compare the test images with the labelled ones."""
