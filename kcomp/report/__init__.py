"""Write HTML pages, plots, and tables in the terminal."""
