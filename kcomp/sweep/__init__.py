"""Train many runs, on this machine or on a Ray cluster. Each run has its own process. This package imports no Keras."""
