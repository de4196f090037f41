"""The wrong rows: errors.csv, and galleries of pictures with heat maps."""
