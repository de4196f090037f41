"""List the held-out rows in errors.csv, and show wrong rows as pictures with heat maps."""
