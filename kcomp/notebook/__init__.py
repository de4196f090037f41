"""Train, predict and ensemble from Python.

Each training runs in a child process, so one notebook can use both backends.
"""
