"""The process of one backend: measure arithmetic, first updates and cost."""
