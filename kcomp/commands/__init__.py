"""One file per command. A command imports heavy packages only when it runs."""
