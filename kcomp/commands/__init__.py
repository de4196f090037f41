"""The commands, one file each. A command imports heavy packages only when it runs, so that --help is fast."""
