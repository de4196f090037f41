"""Heat maps of networks. These modules use neither runs nor tables."""
