"""Write predictions in the format of a competition's sample submission."""
