"""Compare two runs: what differs in their code, data, values and machine, and how far their results differ."""
