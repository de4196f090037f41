"""Show where trained networks fail, and why: `kcomp explain`."""
