"""The command's process: start the workers and report what they measured. No Keras."""
