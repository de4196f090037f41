"""The processes of `kcomp compare` in which one backend runs, and measures arithmetic, first updates and cost."""
