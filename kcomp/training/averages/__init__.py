"""Average the weights of a network, or the predictions of several snapshots, in a stage (part of a training)."""
