"""`kcomp compare`: run one experiment on two backends, in separate processes, and report the difference."""
