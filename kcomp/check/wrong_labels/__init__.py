"""Find labels that are probably wrong, and images that are unlike all others."""
