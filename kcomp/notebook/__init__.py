"""Train, predict and join from Python. Each training runs in a child process, so this one imports no Keras."""
