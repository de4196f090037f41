"""A backend's process: what it measures."""
