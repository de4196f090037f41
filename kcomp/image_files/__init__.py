"""Read the size of an image file from its header, refuse files that are too large, and check files for damage."""
