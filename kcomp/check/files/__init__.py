"""Check the image files: damage, formats, sizes, brightness, sharpness."""
