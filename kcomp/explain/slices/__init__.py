"""Find slices: groups of rows with a common property in which the models are worse."""
