"""The commands, one file for each. A command imports heavy packages only when it runs."""
