"""Training one fold with one seed on the current backend."""
