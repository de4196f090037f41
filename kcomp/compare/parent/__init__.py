"""The main process of `kcomp compare`: start the measurements, compare their results, and write the report."""
