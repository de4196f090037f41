"""Changes of images that break a model, or would repair its predictions."""
