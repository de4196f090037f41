"""`kcomp compare`: the same experiment on each backend, each in processes of its own, and a page about the difference."""
