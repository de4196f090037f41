"""Write HTML pages and plots, and print tables in the terminal."""
