"""Find equal and similar images, and leaks between folds and into the test rows."""
