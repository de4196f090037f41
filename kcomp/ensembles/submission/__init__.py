"""Write predictions in the shape of a competition's sample submission. Imports no Keras."""
