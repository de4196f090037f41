"""`kcomp compare`: train one recipe on two backends, in separate processes, and report the differences."""
