"""Run the trainings of a sweep on a Ray cluster."""
