"""Train, predict and combine predictions from Python, for example in a notebook."""
