"""The machine below kcomp: backends, files, cache, locks, errors and child processes."""
