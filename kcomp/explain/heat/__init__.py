"""Heat maps of networks. Nothing here knows runs or tables."""
