"""The command's process: joins what the workers measured into a page. No Keras."""
