"""kcomp: image competitions in Keras 3, one recipe on JAX and on PyTorch."""

__version__ = "0.2.0"
