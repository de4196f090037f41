"""Check whether properties of the files alone predict the labels."""
