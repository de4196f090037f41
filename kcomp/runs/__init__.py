"""Read and write the files of runs, and list runs in tables. A run is one training of a recipe."""
