"""`kcomp compare`: one experiment on each backend, in processes of their own, and a page about the difference."""
