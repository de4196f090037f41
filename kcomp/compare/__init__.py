"""`kcomp compare`: train one recipe on two backends, in separate processes, and report the differences.

A recipe is the Python file in which a user describes a training.
"""
