"""Train, predict and join from Python. Each training runs in a child process, so the notebook imports no Keras."""
