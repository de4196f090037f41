"""Many runs at once: what is to be trained, and where. Nothing here imports Keras; each run is a process of its own."""
