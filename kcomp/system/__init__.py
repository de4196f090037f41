"""System services: backends, files, cache, locks, errors and child processes."""
