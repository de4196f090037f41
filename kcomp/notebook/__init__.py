"""Train, predict and combine predictions from Python, for example in a notebook.

Each training runs in a child process, so one notebook can use both backends.
"""
