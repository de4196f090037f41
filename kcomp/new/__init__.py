"""Read the files of a competition, and write a recipe for it (`kcomp new`)."""
