"""Train many runs, on this machine or on a Ray cluster. Each run is a separate process; nothing here imports Keras."""
