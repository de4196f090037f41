"""Find changes of images that break a model, and changes that would improve its predictions (repairs)."""
