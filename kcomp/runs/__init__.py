"""Run folders: what lies in one, and tables of them."""
