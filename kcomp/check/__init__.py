"""Find problems of a data set before training: `kcomp check`."""
