"""Functions around the operating system: backends, files, cache, locks, errors and child processes."""
