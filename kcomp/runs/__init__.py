"""Run folders: their files, and tables of runs."""
