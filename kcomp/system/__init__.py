"""Functions for files, locks, processes, error messages and the choice of Keras's backend."""
