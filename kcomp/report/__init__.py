"""Pages, plots and terminal tables."""
