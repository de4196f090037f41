"""Heat maps of networks. These modules need neither runs nor tables."""
